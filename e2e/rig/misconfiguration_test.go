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

// says waits until the host has a condition with the status and reason and a message with all these words, and returns that.
func (h *Host) says(t *testing.T, kind string, status metav1.ConditionStatus, reason string, words ...string) string {
	t.Helper()
	var message string
	must(t, poll(soon(t, waitLimit), func() error {
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
		change func(*v1alpha1.LoadBalancingCluster)
		reason string
		words  []string
	}{
		{"DuplicateHostID", func(c *v1alpha1.LoadBalancingCluster) {
			c.Spec.Hosts[1].HostID, c.Spec.Hosts[2].HostID = new(int32(3)), new(int32(2))
		}, v1alpha1.ReasonDuplicateHostID, []string{"node-b", "10.77.0.2", "node-c", "10.77.0.3"}},
		{"NumberOfRules", func(c *v1alpha1.LoadBalancingCluster) {
			c.Spec.PortRules = append(c.Spec.PortRules, rule("more", SecondPort, v1alpha1.FilteringModeMultiple, ""))
		}, v1alpha1.ReasonRulesDiffer, []string{"host 3 (node-c)", "2 port rules", "(node-a)"}},
		{"OtherRule", func(c *v1alpha1.LoadBalancingCluster) { c.Spec.PortRules[0].Affinity = v1alpha1.AffinityNone },
			v1alpha1.ReasonRulesDiffer, []string{"host 3 (node-c)", "host 1 (node-a)"}},
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
			letPass(t, 500*time.Millisecond)
			must(t, odd.Start())
			for _, h := range []*Host{r.Hosts[0], odd} {
				t.Log(h.says(t, v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, c.reason, c.words...))
			}
			letPass(t, time.Second)
			r.converged(t, r.Hosts[0], r.Hosts[1])
			report := stop(t, run)
			none(t, report.Failed(), len(report.Attempts))
			if n := report.ByHost()[odd.Name]; n != 0 {
				t.Errorf("%s answered %d times", odd.Name, n)
			}
		})
	}
}

// A host whose handling priority is that of a member stays out, and both are named (NLB's event 20); so does the one with the
// higher ID when members come to have the same. The others serve on without a failed connection.
func TestDuplicateHandlingPriority(t *testing.T) {
	r := newRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules[0].FilteringMode, c.Spec.PortRules[0].Affinity = v1alpha1.FilteringModeSingle, ""
	})
	r.useAgent(t)
	prioritized := func(priorities ...int32) func(*v1alpha1.LoadBalancingCluster) {
		return func(c *v1alpha1.LoadBalancingCluster) {
			for i := range priorities {
				c.Spec.Hosts[i].Rules = []v1alpha1.HostRule{{Name: "http", HandlingPriority: &priorities[i]}}
			}
		}
	}
	// Each file is in order by itself, for one that is not is refused; what their hosts say on the wire is not.
	newcomer := r.Hosts[0] // that its ID is the lowest does not help
	must(t, newcomer.Misconfigure(prioritized(7, 9, 8)))
	for _, h := range r.Hosts[1:] {
		must(t, h.Misconfigure(prioritized(1, 9, 7)))
		must(t, h.Start())
	}
	r.converged(t, r.Hosts[1:]...)
	run := probing(t, r)
	must(t, newcomer.Start())
	disputed := func(words ...string) {
		t.Helper()
		words = append(words, "failed to converge due to port rules with a duplicate single host priority", `rule "http"`)
		for _, h := range r.Hosts {
			t.Log(h.says(t, v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonDuplicateHandlingPriority, words...))
		}
	}
	disputed("host 1 (node-a) failed", "host 3 (node-c)", "7")
	newcomer.says(t, v1alpha1.ConditionConverged, metav1.ConditionFalse, v1alpha1.ReasonConverging)
	r.converged(t, r.Hosts[1:]...)

	must(t, newcomer.Misconfigure(prioritized(11, 9, 8))) // which is mended
	r.converged(t, r.Hosts...)

	must(t, newcomer.Misconfigure(prioritized(9, 10, 8))) // and broken again: this time host 2 has to go
	disputed("host 2 (node-b) failed", "host 1 (node-a)", "9")
	r.converged(t, newcomer, r.Hosts[2])
	report := stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); got["node-c"] != len(report.Attempts) {
		t.Errorf("answers: %v, want node-c's", got)
	}
}

// An interface that cannot carry a heartbeat is named with the numbers; the others serve on (JSI 6851).
func TestJSI6851(t *testing.T) {
	r := newRig(t, 2, nil)
	r.useAgent(t)
	_, err := r.Hosts[1].NS.Run("ip", "link", "set", hostInterface, "mtu", "1400")
	must(t, err)
	must(t, r.StartAll())
	m := r.Hosts[1].says(t, v1alpha1.ConditionDataplaneReady, metav1.ConditionFalse, v1alpha1.ReasonMTUTooSmall)
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
