// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

const (
	xdpDrop    = 1
	xdpPass    = 2
	tcNext     = 0xffffffff
	tcDrop     = 2
	tcRedirect = 7
)

var (
	vip4    = netip.MustParseAddr("10.0.0.100")
	vip6    = netip.MustParseAddr("fd00::100")
	client4 = netip.MustParseAddr("10.0.0.7")
	client6 = netip.MustParseAddr("fd00::7")
)

// rig is a cluster's filter whose programs are run by hand, attached to nothing.
type rig struct {
	*Filter
	objects *wlbsObjects
	hook    Hook
	t       testing.TB
}

// newRig loads the programs for the hook and opens one cluster, with a lease that outlives the
// test.
func newRig(t testing.TB, hook Hook, change ...func(*Config)) *rig {
	t.Helper()
	return newRigs(t, hook, mountBPF(t), change...).rig("web")
}

// rigs is an interface whose programs are run by hand.
type rigs struct {
	*Interface
	t      testing.TB
	change []func(*Config)
}

func newRigs(t testing.TB, hook Hook, root string, change ...func(*Config)) *rigs {
	t.Helper()
	nstest.RequireRoot(t)
	i, err := OpenInterface(InterfaceConfig{Ifindex: 1, Root: root, Hook: hook, HostMAC: testHostMAC, unattached: true})
	if err != nil {
		if verifier, ok := errors.AsType[*ebpf.VerifierError](err); ok {
			t.Logf("%+v", verifier)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rigs{Interface: i, t: t, change: change}
}

// rig opens a cluster.
func (i *rigs) rig(cluster string, change ...func(*Config)) *rig {
	i.t.Helper()
	config := Config{Cluster: cluster, MaxConnections: 1024, ClusterMAC: testClusterMAC}
	for _, c := range append(i.change, change...) {
		c(&config)
	}
	f, err := i.Open(config)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			i.t.Error(err)
		}
	})
	if err := f.RenewLease(Now() + time.Hour); err != nil {
		i.t.Fatal(err)
	}
	return &rig{Filter: f, objects: &i.objects, hook: i.hook, t: i.t}
}

func (r *rig) apply(table Table) {
	r.t.Helper()
	if err := r.Apply(table); err != nil {
		r.t.Fatal(err)
	}
}

// reset puts table in force as the first one of a host without connections.
func (r *rig) reset(table Table) {
	r.t.Helper()
	for _, name := range []string{wlbsMapConnections, wlbsMapHalfOpen} {
		clearMap(r.t, r.maps.byName[name])
	}
	r.apply(table)
	r.sweep(Now() + settled)
}

func clearMap(t testing.TB, m *ebpf.Map) {
	t.Helper()
	var flow wlbsFlow
	for m.NextKey(nil, &flow) == nil {
		if err := m.Delete(&flow); err != nil {
			t.Fatal(err)
		}
	}
}

// in gives a frame to the programs in the way of incoming frames, and reports whether the
// stack gets it.
func (r *rig) in(frame []byte) bool {
	r.t.Helper()
	if r.hook == XDP {
		switch action := r.run(r.objects.WlbsXdp, frame); action {
		case xdpDrop:
			return false
		case xdpPass:
		default:
			r.t.Fatalf("wlbs_xdp returned %d", action)
		}
	}
	switch action := r.run(r.objects.WlbsIngress, frame); action {
	case tcNext:
		return true
	case tcDrop:
		return false
	default:
		r.t.Fatalf("wlbs_ingress returned %d", action)
		return false
	}
}

// out gives a frame of the host to the egress program.
func (r *rig) out(frame []byte) []byte {
	r.t.Helper()
	action, out := r.runOut(r.objects.WlbsEgress, frame)
	if action == tcDrop {
		return nil
	}
	if action != tcNext {
		r.t.Fatalf("wlbs_egress returned %d", action)
	}
	return out
}

func (r *rig) run(p *ebpf.Program, frame []byte) uint32 {
	r.t.Helper()
	action, _ := r.runOut(p, frame)
	return action
}

func (r *rig) runOut(p *ebpf.Program, frame []byte) (uint32, []byte) {
	r.t.Helper()
	options := runOptions(frame)
	action, err := p.Run(options)
	if err != nil {
		r.t.Fatalf("run %s: %v", p, err)
	}
	return action, options.DataOut
}

func runOptions(frame []byte) *ebpf.RunOptions {
	return &ebpf.RunOptions{Data: frame, DataOut: make([]byte, len(frame)+64)}
}

func compare(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func (r *rig) counters() Counters {
	r.t.Helper()
	c, err := r.Counters()
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *rig) sweep(now time.Duration) Connections {
	r.t.Helper()
	c, err := r.Connections(now)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// tableOf has one rule, TCP and UDP port 80 in slot 0, and the default slot, both with the
// given policy.
func tableOf(slot Slot) Table {
	t := Table{
		VIPs:  []netip.Addr{vip4, vip6},
		Rules: []Rule{{From: 80, To: 80, TCP: true, UDP: true}},
	}
	t.Slots[0] = slot
	t.Slots[bucket.DefaultSlot] = Slot{Filter: ModeSingle, Affinity: AffinitySingle, Own: slot.Own}
	return t
}

func forHooks(t *testing.T, test func(t *testing.T, hook Hook)) {
	for _, hook := range []Hook{XDP, TCX} {
		t.Run(fmt.Sprint(hook), func(t *testing.T) { test(t, hook) })
	}
}
