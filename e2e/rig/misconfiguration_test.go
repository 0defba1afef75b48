// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	wlbsv1alpha1 "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// says waits until the host has a condition with the status and reason and a message with all these words, and returns that.
func (h *Host) says(t *testing.T, kind string, status metav1.ConditionStatus, reason string, words ...string) string {
	t.Helper()
	var message string
	must(t, poll(soon(t, patience), func() error {
		is, err := h.Query(t.Context())
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(is.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason {
			return fmt.Errorf("%s: condition %s is %+v, want %s/%s", h.Name, kind, c, status, reason)
		}
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				return fmt.Errorf("%s: message %q does not name %q", h.Name, c.Message, w)
			}
		}
		message = c.Message
		return nil
	}))
	return message
}

// A host whose config contradicts that of the others stays out, they serve on without a failed connection, and both
// sides name both parties and the reason (KB Q193599, Q198496).
func TestContradictions(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*wlbsv1alpha1.LoadBalancingCluster)
		reason string
		words  []string
	}{
		{"DuplicateHostID", func(c *wlbsv1alpha1.LoadBalancingCluster) {
			c.Spec.Hosts[1].HostID, c.Spec.Hosts[2].HostID = new(int32(3)), new(int32(2))
		}, wlbsv1alpha1.ReasonDuplicateHostID, []string{"node-b", "10.77.0.2", "node-c", "10.77.0.3"}},
		{"NumberOfRules", func(c *wlbsv1alpha1.LoadBalancingCluster) {
			c.Spec.PortRules = append(c.Spec.PortRules, rule("more", SecondPort, wlbsv1alpha1.FilteringModeMultiple, ""))
		}, wlbsv1alpha1.ReasonRulesDiffer, []string{"host 3 (node-c)", "2 port rules", "(node-a)"}},
		{"OtherRule", func(c *wlbsv1alpha1.LoadBalancingCluster) { c.Spec.PortRules[0].Affinity = wlbsv1alpha1.AffinityNone },
			wlbsv1alpha1.ReasonRulesDiffer, []string{"host 3 (node-c)", "host 1 (node-a)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 3, nil)
			r.useAgent(t)
			odd := r.Hosts[2]
			must(t, odd.Misconfigure(c.change))
			must(t, r.Hosts[0].Start())
			must(t, r.Hosts[1].Start())
			r.converged(t, r.Hosts[0], r.Hosts[1])
			run := probing(t, r)
			lapse(t, 500*time.Millisecond)
			must(t, odd.Start())
			for _, h := range []*Host{r.Hosts[0], odd} {
				t.Log(h.says(t, wlbsv1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, c.reason, c.words...))
			}
			lapse(t, time.Second)
			r.converged(t, r.Hosts[0], r.Hosts[1])
			report := stop(t, run)
			none(t, report.Failed(), len(report.Attempts))
			if n := report.ByHost()[odd.Name]; n != 0 {
				t.Errorf("%s answered %d times", odd.Name, n)
			}
		})
	}
}

// Equal handling priorities are settled by the host ID, as the API says, and named.
func TestDuplicateHandlingPriority(t *testing.T) {
	r := startRig(t, 2, func(c *wlbsv1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules[0].FilteringMode, c.Spec.PortRules[0].Affinity = wlbsv1alpha1.FilteringModeSingle, ""
		for i := range c.Spec.Hosts {
			c.Spec.Hosts[i].Rules = []wlbsv1alpha1.HostRule{{Name: "http", HandlingPriority: new(int32(7))}}
		}
	})
	for _, h := range r.Hosts {
		m := h.says(t, wlbsv1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, wlbsv1alpha1.ReasonConflict)
		if !strings.Contains(m, "hosts 1 and 2 have handling priority 7") {
			t.Errorf("%s: %q", h.Name, m)
		}
	}
	if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 60}); got["node-a"] != 100 {
		t.Errorf("answers: %v, want node-a's", got)
	}
}

// An interface that cannot carry a heartbeat is named with the numbers; the others serve on (JSI 6851).
func TestJSI6851(t *testing.T) {
	r := newRig(t, 2, nil)
	r.useAgent(t)
	_, err := r.Hosts[1].NS.Run("ip", "link", "set", hostInterface, "mtu", "1400")
	must(t, err)
	must(t, r.StartAll())
	m := r.Hosts[1].says(t, wlbsv1alpha1.ConditionDataplaneReady, metav1.ConditionFalse, wlbsv1alpha1.ReasonMTUTooSmall)
	for _, number := range []string{"1400", "1496"} {
		if !strings.Contains(m, number) {
			t.Errorf("message %q lacks %s", m, number)
		}
	}
	r.converged(t, r.Hosts[0])
	if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 60}); got["node-a"] != 100 {
		t.Errorf("answers: %v", got)
	}
}
