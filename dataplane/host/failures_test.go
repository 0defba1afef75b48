// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

// configOf returns a config of the host, for tests to change.
func configOf(id int32, generation int64, change ...func(*plan.Config)) plan.Config {
	c := plan.Config{Cluster: &v1alpha1.LoadBalancingCluster{}, Host: &v1alpha1.LoadBalancingHost{}}
	c.Cluster.Name, c.Cluster.Generation, c.Host.Generation = "web", generation, generation
	c.Cluster.Spec.VirtualIPs = []string{"10.77.0.100", "10.77.0.101"}
	c.Cluster.Spec.PortRules = []v1alpha1.PortRule{{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}}}
	name := fmt.Sprintf("node-%d", id)
	c.Host.Name = v1alpha1.HostObjectName("web", name)
	c.Host.Spec = v1alpha1.LoadBalancingHostSpec{
		ClusterName: "web", NodeName: name, HostID: id, VirtualIPs: c.Cluster.Spec.VirtualIPs,
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

// moreRules is a change that needs all hosts.
func moreRules(c *plan.Config) {
	https := v1alpha1.PortRule{Name: "https", Ports: v1alpha1.PortRange{From: 443, To: 443}}
	c.Cluster.Spec.PortRules = append(c.Cluster.Spec.PortRules, https)
}

func desired(state v1alpha1.DesiredState) func(*plan.Config) {
	return func(c *plan.Config) { c.Host.Spec.DesiredState = state }
}

// history runs three hosts through joins, leaves and changes of config while something fails on the first one, and
// expects that all converge in the end. The node checks the rest at every step.
func history(t *testing.T, inject func(op) error) []op {
	t.Helper()
	var ops []op
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, 3)
		s.nodes[0].inject = inject
		var all []*runtime
		for _, n := range s.nodes {
			all = append(all, n.start(configOf(n.id, 1)))
		}
		update := func(generation int64, change ...func(*plan.Config)) {
			for _, r := range all {
				r.updates <- configOf(r.id, generation, change...)
			}
		}
		time.Sleep(8 * time.Second)
		update(2, moreRules)
		time.Sleep(4 * time.Second)
		all[0].updates <- configOf(1, 3, moreRules, desired(v1alpha1.DesiredStateStopped))
		time.Sleep(4 * time.Second)
		all[0].updates <- configOf(1, 4, moreRules)
		time.Sleep(6 * time.Second)
		all[1].end(EndingShutdown)
		time.Sleep(4 * time.Second)
		all[1] = s.nodes[1].start(configOf(2, 4, moreRules))
		time.Sleep(6 * time.Second)
		all[0].end(EndingRestart)
		all[0] = s.nodes[0].start(configOf(1, 4, moreRules))
		time.Sleep(4 * time.Second)
		ops = slices.Clone(s.nodes[0].ops)
		s.nodes[0].inject = func(op) error { return nil }
		time.Sleep(25 * time.Second)
		converged(t, all...)
		for _, r := range all {
			r.end(EndingRemoval)
			if r.table != nil || r.vips != nil {
				t.Errorf("host %d is removed, and left %v", r.id, r.vips)
			}
		}
	})
	return ops
}

func converged(t *testing.T, all ...*runtime) {
	t.Helper()
	var want []int32
	for _, r := range all {
		want = append(want, r.id)
	}
	for _, r := range all {
		if state, members := r.state(); state != v1alpha1.HostConverged || !slices.Equal(members, want) {
			t.Errorf("host %d is %s with members %v, want Converged with %v; its log:\n%s",
				r.id, state, members, want, r.log.String())
		}
	}
}

// permutations returns all orders of all subsets, the empty one included.
func permutations(of []op) [][]op {
	out := [][]op{{}}
	for i, first := range of {
		rest := slices.Delete(slices.Clone(of), i, i+1)
		for _, p := range permutations(rest) {
			out = append(out, append([]op{first}, p...))
		}
	}
	return out
}

// What a step does may fail in any order, at any time of a host's life.
func TestEveryOrderOfFailures(t *testing.T) {
	kinds := []op{opApply, opSend, opRenew, opRevoke}
	for _, skip := range []int{0, 1, 2, 5} {
		for _, order := range permutations(kinds) {
			t.Run(fmt.Sprintf("%v after %d", order, skip), func(t *testing.T) {
				todo, passed := slices.Clone(order), 0
				history(t, func(o op) error {
					if len(todo) == 0 || o != todo[0] {
						return nil
					}
					if passed++; passed <= skip {
						return nil
					}
					todo, passed = todo[1:], 0
					return errInjected
				})
			})
		}
	}
}

// Each single thing that a host does may fail, and may take long: a process is starved of CPU, or a disk hangs.
func TestEveryOperationFailsOrIsLate(t *testing.T) {
	if testing.Short() {
		t.Skip("runs some hundred histories")
	}
	ops := history(t, func(op) error { return nil })
	const stride = 7 // all residues are met over the kinds, and the test stays short
	for k := 0; k < len(ops); k += stride {
		for _, late := range []time.Duration{0, 800 * time.Millisecond, 7 * time.Second} {
			t.Run(fmt.Sprintf("%s %d late %v", ops[k], k, late), func(t *testing.T) {
				done := 0
				history(t, func(o op) error {
					if done++; done-1 != k || o == opClose || o == opRemove {
						return nil
					}
					if late > 0 {
						time.Sleep(late)
						return nil
					}
					return errInjected
				})
			})
		}
	}
}

// A link that carries nothing for a while renews no lease, and the host goes on when it carries again.
func TestLinkFailsForAWhile(t *testing.T) {
	for _, from := range []int{1, 10, 60} {
		for _, times := range []int{1, 2, 3, 20, 100} {
			t.Run(fmt.Sprintf("%d times from %d", times, from), func(t *testing.T) {
				sends := 0
				history(t, func(o op) error {
					if o != opSend {
						return nil
					}
					if sends++; sends >= from && sends < from+times {
						return errInjected
					}
					return nil
				})
			})
		}
	}
}

// After a hold all is as it was, and the next host goes on without a convergence.
func TestHoldRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, 2)
		all := []*runtime{s.nodes[0].start(configOf(1, 1)), s.nodes[1].start(configOf(2, 1))}
		time.Sleep(8 * time.Second)
		converged(t, all...)
		n := s.nodes[0]
		table, vips, epoch := n.table, slices.Clone(n.vips), *n.reports[len(n.reports)-1].Host.Status.Epoch
		if ending := all[0].end(EndingRestart); ending != EndingRestart {
			t.Errorf("ended by %d", ending)
		}
		if n.table != table || !slices.Equal(n.vips, vips) || slices.Contains(n.ops, opRemove) {
			t.Error("something was removed")
		}
		if left := n.lease - n.now(); left < 5*time.Second {
			t.Errorf("the filter goes on for %v", left)
		}
		time.Sleep(6 * time.Second)
		all[0] = n.start(configOf(1, 1))
		time.Sleep(time.Second)
		converged(t, all...)
		if now := *n.reports[len(n.reports)-1].Host.Status.Epoch; now != epoch {
			t.Errorf("epoch %d after the restart, %d before", now, epoch)
		}
		for _, r := range all {
			r.end(EndingShutdown)
		}
	})
}

// A host that leaves hands over first: its buckets are open elsewhere at once.
func TestLeaveHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, 2)
		all := []*runtime{s.nodes[0].start(configOf(1, 1)), s.nodes[1].start(configOf(2, 1))}
		time.Sleep(8 * time.Second)
		all[0].updates <- plan.Config{}
		if ending := <-all[0].done; ending != EndingConfig {
			t.Errorf("ended by %d", ending)
		}
		for slot, open := range s.nodes[1].open() {
			if slot == 0 && open.Len() != 60 {
				t.Errorf("%d buckets are open on the one that stays", open.Len())
			}
		}
		if s.nodes[0].table != nil || s.nodes[0].vips != nil {
			t.Error("something is left")
		}
		all[1].end(EndingShutdown)
	})
}

// A virtual IP that becomes the node's own address is not served from then on; the others are.
func TestOwnAddressIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := status.Refused{VirtualIP: netip.MustParseAddr("10.77.0.101"), Interface: "eth1"}
		s := newSegment(t, 1)
		n := s.nodes[0]
		n.refused = []status.Refused{own}
		r := n.start(configOf(1, 1))
		time.Sleep(8 * time.Second)
		served := func(want string) {
			t.Helper()
			if got := fmt.Sprint(n.vips); got != want {
				t.Errorf("serves %s, want %s", got, want)
			}
		}
		served("[10.77.0.100]")
		condition := ""
		for _, c := range n.reports[len(n.reports)-1].Host.Status.Conditions {
			if c.Type == v1alpha1.ConditionConfigConsistent {
				condition = c.Reason + ": " + c.Message
			}
		}
		if !strings.HasPrefix(condition, "VirtualIPIsNodeAddress: virtual IP 10.77.0.101") ||
			!strings.Contains(condition, "eth1") {
			t.Errorf("says %q", condition)
		}
		n.refused = nil
		time.Sleep(announceInterval)
		served("[10.77.0.100 10.77.0.101]")
		n.refused = []status.Refused{own}
		time.Sleep(announceInterval)
		served("[10.77.0.100]")
		r.end(EndingRemoval)
	})
}

// What a step leads to is bounded: a link that never carries anything does not keep a host from its other work.
func TestStepIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSegment(t, 1)
		n := s.nodes[0]
		n.inject = func(o op) error {
			if o == opSend {
				return errInjected
			}
			return nil
		}
		r := n.start(configOf(1, 1))
		time.Sleep(10 * time.Second)
		sends := 0
		for _, o := range n.ops {
			if o == opSend {
				sends++
			}
		}
		if sends > 300 {
			t.Errorf("%d attempts to send in 10 s", sends)
		}
		r.end(EndingShutdown)
	})
}

// A snapshot that was cut short, or that a disk changed, is as good as none.
func TestSnapshotOfNoUse(t *testing.T) {
	var good []byte
	synctest.Test(t, func(t *testing.T) {
		n := newSegment(t, 1).nodes[0]
		r := n.start(configOf(1, 1))
		time.Sleep(5 * time.Second)
		r.end(EndingRestart)
		good = n.snapshot
	})
	const stride = 13
	for at := 0; at < len(good); at += stride {
		changed := slices.Clone(good)
		changed[at] ^= 0x11
		for _, content := range [][]byte{good[:at], changed} {
			synctest.Test(t, func(t *testing.T) {
				n := newSegment(t, 1).nodes[0]
				n.snapshot = content
				r := n.start(configOf(1, 1))
				time.Sleep(2 * time.Second)
				r.end(EndingShutdown)
			})
		}
	}
}
