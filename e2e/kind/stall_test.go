// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	// stallLimit bounds the time from the fault to kubectl get: the window of five seconds, what fills it, and a report.
	stallLimit = 40 * time.Second
	// recoveryLimit bounds the same for the end of the fault, with the verdict's hysteresis.
	recoveryLimit = 90 * time.Second
)

// TestStalledHostIsFlaggedWhileConverged is Microsoft KB Q228942: heartbeats pass, the cluster is converged, and a host's
// answers stand still in its transmit queue.
func TestStalledHostIsFlaggedWhileConverged(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "stalled")
	c.awaitConverged(t)
	clients := c.steady().start(t)
	pause(t, 2*time.Second)
	c.mustNotBeStalled(t)

	victim := c.workers[2]
	epoch := c.epoch(t)
	c.stallEgress(t, victim)
	took := c.awaitCondition(t, stallLimit, v1alpha1.ConditionTrafficStalled, metav1.ConditionTrue, string(v1alpha1.StallEgressQueue))
	t.Logf("the stall of %s was reported after %s", victim, took.Round(time.Millisecond))
	c.mustShowStall(t, victim)
	c.awaitEvent(t, string(v1alpha1.StallEgressQueue), victim)
	steadily(t, 3*time.Second, "converged and flagged", func(ctx context.Context) error {
		return c.stalledButConverged(ctx, epoch)
	})
	t.Logf("during the stall: %s", summary(clients.soFar()))

	unstallEgress(t, victim)
	took = c.awaitCondition(t, recoveryLimit, v1alpha1.ConditionTrafficStalled, metav1.ConditionFalse, v1alpha1.ReasonTrafficFlows)
	t.Logf("the end of the stall was reported after %s", took.Round(time.Millisecond))
	clients.stop()
	c.mustSpread(t, 150, c.workers...)
	c.mustNotBeStalled(t)
	c.awaitEvent(t, "TrafficRecovered", victim)
}

// TestIdleClusterIsNotStalled has a fault that nobody meets: without traffic nothing stands still.
func TestIdleClusterIsNotStalled(t *testing.T) {
	c := newCluster(t, "idle")
	c.awaitConverged(t)
	c.stallEgress(t, c.workers[2])
	steadily(t, 8*time.Second, "an idle cluster", func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		return hasCondition(object.Status.Conditions, v1alpha1.ConditionTrafficStalled, metav1.ConditionFalse, "")
	})
}

// stallEgress lets what a node sends from the virtual IP wait for ever in a class of its own, while all else passes.
func (c *vipCluster) stallEgress(t *testing.T, node string) {
	t.Helper()
	t.Cleanup(func() { unstallEgress(t, node) })
	keepArtifacts(t)
	for _, command := range []string{
		"qdisc add dev eth0 root handle 1: htb default 20",
		"class add dev eth0 parent 1: classid 1:10 htb rate 8bit burst 1 cburst 1",
		"class add dev eth0 parent 1: classid 1:20 htb rate 1gbit",
		"filter add dev eth0 parent 1: protocol ip u32 match ip src " + c.vip.String() + "/32 flowid 1:10",
	} {
		_, err := cluster.InNodeNet(t.Context(), node, append([]string{"tc"}, strings.Fields(command)...)...)
		must(t, err)
	}
}

// unstallEgress ends the fault, if it is there.
func unstallEgress(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := contextFor(20 * time.Second)
	defer cancel()
	there, err := cluster.InNodeNet(ctx, node, "tc", "qdisc", "show", "dev", "eth0", "root")
	must(t, err)
	if !strings.Contains(there, "htb") {
		return
	}
	_, err = cluster.InNodeNet(ctx, node, "tc", "qdisc", "del", "dev", "eth0", "root")
	must(t, err)
}

func (c *vipCluster) epoch(t *testing.T) int64 {
	t.Helper()
	object, err := c.get(t.Context())
	must(t, err)
	return value(object.Status.Epoch)
}

func (c *vipCluster) mustNotBeStalled(t *testing.T) {
	t.Helper()
	object, err := c.get(t.Context())
	must(t, err)
	must(t, hasCondition(object.Status.Conditions, v1alpha1.ConditionTrafficStalled, metav1.ConditionFalse, v1alpha1.ReasonTrafficFlows))
	if stalled := object.Status.Columns.Stalled; stalled != "" {
		t.Errorf("the column STALLED is %q", stalled)
	}
}

// stalledButConverged checks that the membership does not care for a stall, whose action is Report.
func (c *vipCluster) stalledButConverged(ctx context.Context, epoch int64) error {
	object, err := c.get(ctx)
	if err != nil {
		return err
	}
	for kind, reason := range map[string]string{
		v1alpha1.ConditionTrafficStalled: string(v1alpha1.StallEgressQueue),
		v1alpha1.ConditionConverged:      v1alpha1.ReasonConverged,
	} {
		if err := hasCondition(object.Status.Conditions, kind, metav1.ConditionTrue, reason); err != nil {
			return err
		}
	}
	if is := value(object.Status.Epoch); is != epoch {
		return fmt.Errorf("the epoch is %d, and was %d before the stall", is, epoch)
	}
	return nil
}

// mustShowStall checks that kubectl get names the host and the reason, on this host only.
func (c *vipCluster) mustShowStall(t *testing.T, victim string) {
	t.Helper()
	within(t, reportLimit, "columns of kubectl get", func(ctx context.Context) error {
		clusters, err := getTable(ctx, "lbc")
		if err != nil {
			return err
		}
		row, err := clusters.row(c.name)
		if err != nil {
			return err
		}
		if row["STALLED"] != victim || row["CONVERGED"] != "True" || row["HOSTS"] != "3/3" {
			return fmt.Errorf("kubectl get lbc says %v, want STALLED %s, CONVERGED True, HOSTS 3/3", row, victim)
		}
		hosts, err := getTable(ctx, "lbh")
		if err != nil {
			return err
		}
		for _, node := range c.workers {
			row, err := hosts.row(v1alpha1.HostObjectName(c.name, node))
			if err != nil {
				return err
			}
			want := "False"
			if node == victim {
				want = string(v1alpha1.StallEgressQueue)
			}
			if row["STALLED"] != want {
				return fmt.Errorf("kubectl get lbh says %v, want STALLED %s", row, want)
			}
		}
		return nil
	})
	t.Logf("kubectl get lbc,lbh\n%s", mustKubectl(t, "", "get", "lbc,lbh"))
	wlbs(t, exitStalled, words("query %s", c.name), "is STALLED: "+string(v1alpha1.StallEgressQueue))
}

// awaitEvent waits for an Event about the cluster that names a node.
func (c *vipCluster) awaitEvent(t *testing.T, reason, node string) {
	t.Helper()
	within(t, reportLimit, "Event "+reason, func(ctx context.Context) error {
		var events eventsv1.EventList
		if err := c.api.List(ctx, &events); err != nil {
			return err
		}
		var reasons []string
		for _, event := range events.Items {
			if event.Regarding.Name != c.name {
				continue
			}
			if event.Reason == reason && strings.Contains(event.Note, node) {
				return nil
			}
			reasons = append(reasons, event.Reason)
		}
		return fmt.Errorf("there is none that names %s, but %v", node, reasons)
	})
}
