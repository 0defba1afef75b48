// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

// path is one way through wlbs_xdp, and what it may cost (design, section 11).
type path struct {
	name   string
	budget float64 // times the floor
	table  Table
	frame  []byte
	action uint32
	before func(r *rig)
}

func paths() []path {
	ack := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80}
	all := tableOf(Slot{Affinity: AffinityNone, Own: bucket.All})
	none := tableOf(Slot{Affinity: AffinityNone})
	busy := tableOf(Slot{Affinity: AffinityNone, Own: bucket.All, Busy: bucket.All})
	syn := ack
	syn.flags = flagSYN
	other := ack
	other.dst = netip.MustParseAddr("10.0.0.1")
	track := func(r *rig) {
		for _, p := range []packetSpec{syn, ack} {
			if !r.in(p.bytes()) {
				r.t.Fatal("the connection to track was not let in")
			}
		}
	}
	return []path{
		{name: "other", budget: 1.3, table: all, frame: other.bytes(), action: xdpPass},
		{name: "reject", budget: 2.2, table: none, frame: ack.bytes(), action: xdpDrop},
		{name: "rest", budget: 2.5, table: all, frame: ack.bytes(), action: xdpPass},
		{name: "sticky", budget: 4.5, table: tableOf(stickySlot(AffinitySingle, bucket.All)), frame: ack.bytes(), action: xdpPass},
		{name: "tracked", budget: 4.5, table: busy, frame: ack.bytes(), action: xdpPass, before: track},
	}
}

// floor is the cheapest XDP program: it drops at once.
func floor(t testing.TB) *ebpf.Program {
	t.Helper()
	return constantProgram(t, xdpDrop)
}

func constantProgram(t testing.TB, action int32) *ebpf.Program {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.XDP,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, action), asm.Return()},
		License:      "Dual BSD/GPL",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// nanoseconds runs p and returns the cost of one run in CPU time of the thread, which does
// not count the time that other processes had the CPU; the kernel's own figure is in whole
// nanoseconds, too coarse for the floor.
func nanoseconds(t testing.TB, p *ebpf.Program, frame []byte, repeat int, action uint32) float64 {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime(t)
	got, _, err := p.Benchmark(frame, repeat, nil)
	spent := threadTime(t) - before
	if err != nil {
		t.Fatal(err)
	}
	if got != action {
		t.Fatalf("%s returned %d, want %d", p, got, action)
	}
	return float64(spent) / float64(repeat)
}

func threadTime(t testing.TB) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkPaths reports each path's cost as a multiple of the floor's, measured in turns
// in the same run: the machine's own speed cancels out. rest-ns is for orientation.
func BenchmarkPaths(b *testing.B) {
	nstest.RequireRoot(b)
	const repeat = 1 << 19
	bottom := floor(b)
	for _, path := range paths() {
		b.Run(path.name, func(b *testing.B) {
			r := path.rig(b, 1)
			var ratios, ns []float64
			for b.Loop() {
				low := nanoseconds(b, bottom, path.frame, repeat, xdpDrop)
				cost := nanoseconds(b, r.objects.WlbsXdp, path.frame, repeat, path.action)
				ratios, ns = append(ratios, cost/low), append(ns, cost)
			}
			b.ReportMetric(median(ratios), "x-floor")
			b.ReportMetric(path.budget, "x-budget")
			b.ReportMetric(median(ns), "ns/packet")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rig makes an interface with so many clusters, and takes the path with one of them.
func (p *path) rig(b *testing.B, clusters int) *rig {
	b.Helper()
	i := newRigs(b, XDP, mountBPF(b))
	vips := manyVIPs(4 * clusters)
	for n := range clusters - 1 {
		t := p.table
		t.VIPs = vips[4*n : 4*n+4]
		i.rig(fmt.Sprintf("c%d", n)).apply(t)
	}
	r := i.rig("web")
	r.apply(p.table)
	if p.before != nil {
		p.before(r)
	}
	r.sweep(Now() + settled) // so that the filter knows that it holds no foreign bucket
	return r
}

// BenchmarkClusters reports what a packet costs where one, 8 and 32 clusters are on the interface,
// each with four virtual IPs, measured in turns: as a multiple of the floor, and of the cost with
// one cluster.
func BenchmarkClusters(b *testing.B) {
	nstest.RequireRoot(b)
	const repeat = 1 << 18
	numbers := []int{1, 8, 32}
	bottom := floor(b)
	for _, path := range paths() {
		b.Run(path.name, func(b *testing.B) {
			var rigs []*rig
			for _, n := range numbers {
				rigs = append(rigs, path.rig(b, n))
			}
			floors, ones := make([][]float64, len(numbers)), make([][]float64, len(numbers))
			for b.Loop() {
				low := nanoseconds(b, bottom, path.frame, repeat, xdpDrop)
				var one float64
				for n, r := range rigs {
					cost := nanoseconds(b, r.objects.WlbsXdp, path.frame, repeat, path.action)
					if n == 0 {
						one = cost
					}
					floors[n], ones[n] = append(floors[n], cost/low), append(ones[n], cost/one)
				}
			}
			for n, clusters := range numbers {
				b.ReportMetric(median(floors[n]), fmt.Sprintf("x-floor-%d", clusters))
				if n > 0 {
					b.ReportMetric(median(ones[n]), fmt.Sprintf("x-one-%d", clusters))
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
