// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// tableBecomes waits until the host says whether its connection table is full, and returns its report.
func (h *Host) tableBecomes(t *testing.T, status metav1.ConditionStatus) *v1alpha1.LoadBalancingHost {
	t.Helper()
	var is *v1alpha1.LoadBalancingHost
	must(t, poll(soon(t, 2*waitLimit), func() (err error) {
		if is, err = h.Query(t.Context()); err != nil {
			return err
		}
		c := meta.FindStatusCondition(is.Status.Conditions, v1alpha1.ConditionConnectionTableFull)
		if c == nil || c.Status != status {
			return fmt.Errorf("%s tracks %d connections, %d went untracked, and says %+v; want status %s",
				h.Name, *is.Status.Traffic.Connections, *is.Status.Traffic.Untracked, c, status)
		}
		return nil
	}))
	return is
}

// As in NLB, connections beyond the limit are served untracked. The host says so, and no longer when they have ended; an
// agent that starts meanwhile knows from its first report how many there are.
func TestConnectionTableFull(t *testing.T) {
	const limit, loads = 1024, 6
	r := startRig(t, 1, func(c *v1alpha1.LoadBalancingCluster) { c.Spec.Dataplane.MaxConnections = new(int32(limit)) })
	h := r.Hosts[0]
	h.tableBecomes(t, metav1.ConditionFalse)
	var held []*Running
	for range loads {
		run, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: Clients, Hold: true, Interval: time.Second, Timeout: waitLimit, Limit: 5 * time.Minute})
		must(t, err)
		held = append(held, run)
	}
	is := h.tableBecomes(t, metav1.ConditionTrue)
	must(t, poll(soon(t, waitLimit), func() (err error) {
		if is, err = h.Query(t.Context()); err == nil && *is.Status.Traffic.Untracked < loads*Clients-limit {
			err = fmt.Errorf("%d connections went untracked, want %d", *is.Status.Traffic.Untracked, loads*Clients-limit)
		}
		return err
	}))
	must(t, poll(soon(t, waitLimit), func() (err error) {
		is, err = h.Query(t.Context())
		c := meta.FindStatusCondition(is.Status.Conditions, v1alpha1.ConditionConnectionTableFull)
		if want := "at least 100 new connections"; err == nil && !strings.Contains(c.Message, want) {
			err = fmt.Errorf("message %q, want %q", c.Message, want)
		}
		return err
	}))
	if n := *is.Status.Traffic.Connections; n > limit {
		t.Errorf("%d connections tracked, limit %d", n, limit)
	}
	must(t, h.Kill())
	must(t, h.Start())
	first := h.firstReport(t)
	if n := first.Status.Traffic.Connections; n == nil || *n < limit*9/10 {
		t.Errorf("the first report after a restart has %v connections, want about %d", n, limit)
	}
	r.converged(t, h)
	for _, run := range held {
		report := stop(t, run)
		none(t, report.Failed(), len(report.Attempts))
		if len(report.HostOf()) != Clients {
			t.Errorf("%d of %d clients were served", len(report.HostOf()), Clients)
		}
	}
	h.tableBecomes(t, metav1.ConditionFalse)
}

// firstReport waits for an agent that was just started to answer at all.
func (h *Host) firstReport(t *testing.T) *v1alpha1.LoadBalancingHost {
	t.Helper()
	var is *v1alpha1.LoadBalancingHost
	must(t, poll(soon(t, waitLimit), func() (err error) {
		if is, err = h.Query(t.Context()); err == nil && is.Status.Traffic.Admitted == nil {
			err = fmt.Errorf("%s has not reported yet", h.Name)
		}
		return err
	}))
	return is
}
