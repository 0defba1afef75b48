// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestApplyConvergesAndSpreads is the way of a new user: apply, wait, look, connect.
func TestApplyConvergesAndSpreads(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "web")
	start := time.Now()
	// kubectl wait fails at once for a condition that is not there yet, and holds for one host alone: it comes second.
	within(t, convergeLimit, "status of all hosts", func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		if counts := object.Status.HostCounts; value(counts.Desired) != 3 {
			return fmt.Errorf("%d hosts are desired, want 3", value(counts.Desired))
		}
		return nil
	})
	mustKubectl(t, "", "wait", "--for=condition=Converged", "lbc/web", "--timeout="+convergeLimit.String())
	t.Logf("kubectl wait returned %s after kubectl apply", time.Since(start).Round(time.Millisecond))
	c.awaitConverged(t)
	c.mustPrintColumns(t)

	on := listen(t, c.network.Bridge, c.target())
	attempts := c.mustSpread(t, 300, c.workers...)
	on.mustBeServedByOne(t, attempts, c.macs(t))
	c.clusterMACMustNotBeLearnt(t)
}

var age = regexp.MustCompile(`^\d+[smh](\d+s)?$`)

// mustPrintColumns checks what kubectl get prints of a cluster at rest.
func (c *vipCluster) mustPrintColumns(t *testing.T) {
	t.Helper()
	within(t, reportLimit, "columns of kubectl get", func(ctx context.Context) error {
		clusters, err := getTable(ctx, "lbc")
		if err != nil {
			return err
		}
		want := []string{"NAME", "VIP", "CONVERGED", "HOSTS", "DEFAULT", "STALLED", "AGE"}
		if diff := cmp.Diff(want, clusters.columns); diff != "" {
			return fmt.Errorf("kubectl get lbc has other columns (-want +got):\n%s", diff)
		}
		row, err := clusters.row(c.name)
		if err != nil {
			return err
		}
		if err := sameRow(row, map[string]string{
			"NAME": c.name, "VIP": c.vip.String(), "CONVERGED": "True", "HOSTS": "3/3", "DEFAULT": c.workers[0], "STALLED": "",
		}); err != nil {
			return err
		}
		return c.hostColumns(ctx)
	})
	for _, kind := range []string{"lbc", "lbh"} {
		t.Logf("kubectl get %s\n%s", kind, mustKubectl(t, "", "get", kind))
	}
}

func (c *vipCluster) hostColumns(ctx context.Context) error {
	hosts, err := getTable(ctx, "lbh")
	if err != nil {
		return err
	}
	want := []string{"NAME", "ID", "STATE", "MAINTENANCE", "MEMBERS", "BUCKETS", "STALLED", "AGE"}
	if diff := cmp.Diff(want, hosts.columns); diff != "" {
		return fmt.Errorf("kubectl get lbh has other columns (-want +got):\n%s", diff)
	}
	for i, node := range c.workers {
		name := v1alpha1.HostObjectName(c.name, node)
		row, err := hosts.row(name)
		if err != nil {
			return err
		}
		state := "Converged"
		if i == 0 {
			state = "Converged as DEFAULT"
		}
		if err := sameRow(row, map[string]string{
			"NAME": name, "ID": fmt.Sprint(i + 1), "STATE": state, "MAINTENANCE": "", "MEMBERS": "1,2,3", "BUCKETS": "20", "STALLED": "False",
		}); err != nil {
			return err
		}
	}
	return nil
}

// sameRow compares a row with what it must hold, and the age with what ages look like.
func sameRow(row, want map[string]string) error {
	if !age.MatchString(row["AGE"]) {
		return fmt.Errorf("%q is no age", row["AGE"])
	}
	want["AGE"] = row["AGE"]
	for column := range want {
		if row[column] != want[column] {
			return fmt.Errorf("%s: column %s is %q, want %q", want["NAME"], column, row[column], want[column])
		}
	}
	return nil
}

// clusterMACMustNotBeLearnt checks that no frame left a host with the cluster MAC as its source (KB Q193602, Q258609): the
// bridge, as any switch, would then send frames for the virtual IP to that host alone.
func (c *vipCluster) clusterMACMustNotBeLearnt(t *testing.T) {
	t.Helper()
	object, err := c.get(t.Context())
	must(t, err)
	mac := v1alpha1.ClusterMAC(object.Spec.EffectiveMode(), c.vip).String()
	learnt, err := cluster.Output(t.Context(), "bridge", "fdb", "show", "br", c.network.Bridge)
	must(t, err)
	if regexp.MustCompile(mac).MatchString(learnt) {
		t.Errorf("the bridge has learnt the cluster MAC %s:\n%s", mac, learnt)
	}
}
