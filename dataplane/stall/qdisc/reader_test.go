// SPDX-License-Identifier: Apache-2.0

package qdisc

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

// A reader that looked once sees what changes at the interface itself by its next read.
func TestChangesAreSeenAtOnce(t *testing.T) {
	w := newWire(t)
	for _, step := range []struct {
		command string
		want    []string
	}{
		{"tc qdisc add dev eth0 clsact", nil},
		{"tc qdisc add dev eth0 root handle 4: pfifo", []string{"qdisc pfifo 4: (eth0)"}},
		{"tc qdisc replace dev eth0 root handle 5: pfifo", []string{"qdisc pfifo 5: (eth0)"}},
		{"tc qdisc replace dev eth0 root handle 6: htb default 20", []string{"qdisc htb 6: (eth0)"}},
		{"tc qdisc del dev eth0 root", nil},
		{"tc qdisc add dev eth0 root handle 1: htb default 20", []string{"qdisc htb 1: (eth0)"}},
		{"ip link set eth0 down", []string{"qdisc htb 1: (eth0)"}},
		{"ip link set eth0 up", []string{"qdisc htb 1: (eth0)"}},
		{"tc qdisc del dev eth0 root", nil},
		{"tc qdisc add dev eth0 root handle 3: tbf rate 1mbit burst 10k limit 1mb", []string{"qdisc tbf 3: (eth0)"}},
		{"tc qdisc del dev eth0 root", nil},
		{"tc qdisc add dev eth0 root handle 4: pfifo", []string{"qdisc pfifo 4: (eth0)"}},
		{"ip link set eth0 down", []string{"qdisc pfifo 4: (eth0)"}},
		{"tc qdisc del dev eth0 root", nil}, // none at all now
		{"tc qdisc add dev eth0 root handle 5: pfifo", []string{"qdisc pfifo 5: (eth0)"}},
	} {
		run(t, step.command)
		if diff := cmp.Diff(step.want, names(w.leaves())); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.command, diff)
		}
	}
}

// What changes below others, or on other devices, is seen at the next look.
func TestChangesBelowAreSeenSoon(t *testing.T) {
	for name, tc := range map[string]struct {
		setup, change []string
		want          []string
	}{
		"class": {
			[]string{"tc qdisc add dev eth0 root handle 1: htb default 20"},
			[]string{"tc class add dev eth0 parent 1: classid 1:10 htb rate 1mbit"},
			[]string{"class 1:10 (eth0)"},
		},
		"htb in htb": {
			[]string{"tc qdisc add dev eth0 root handle 1: htb default 10",
				"tc class add dev eth0 parent 1: classid 1:10 htb rate 1mbit"},
			[]string{"tc qdisc add dev eth0 parent 1:10 handle 2: htb",
				"tc class add dev eth0 parent 2: classid 2:5 htb rate 1mbit"},
			[]string{"class 2:5 (eth0)"},
		},
		"another discipline in its place": {
			[]string{
				"tc qdisc add dev eth0 root handle 3: tbf rate 1mbit burst 10k limit 1mb",
				"tc qdisc add dev eth0 parent 3:1 handle 4: pfifo",
			},
			[]string{"tc qdisc replace dev eth0 parent 3:1 handle 5: bfifo"},
			[]string{"qdisc bfifo 5: (eth0)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			for _, c := range tc.setup {
				run(t, c)
			}
			w.leaves()
			for _, c := range tc.change {
				run(t, c)
			}
			for range lookEvery - 1 {
				w.leaves()
			}
			if diff := cmp.Diff(tc.want, names(w.leaves())); diff != "" {
				t.Errorf("leaves (-want +got):\n%s", diff)
			}
		})
	}
}

// Between looks the counters move on, of each kind of leaf.
func TestCountersMoveBetweenLooks(t *testing.T) {
	for name, setup := range map[string][]string{
		"root": {"tc qdisc add dev eth0 root handle 4: pfifo"},
		"child": {"tc qdisc add dev eth0 root handle 3: tbf rate 1gbit burst 10k limit 1mb",
			"tc qdisc add dev eth0 parent 3:1 handle 4: pfifo"},
		"class": {"tc qdisc add dev eth0 root handle 1: htb default 20",
			"tc class add dev eth0 parent 1: classid 1:20 htb rate 1gbit"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			for _, c := range setup {
				run(t, c)
			}
			before := w.leaves()
			if len(before) != 1 {
				t.Fatalf("leaves %v, want one", before)
			}
			for i := range lookEvery - 2 {
				w.send("10.77.0.1")
				now := w.leaves()
				if got, want := now[0].Sent-before[0].Sent, uint64(i+1); len(now) != 1 || got < want ||
					now[0].Name != before[0].Name {
					t.Fatalf("read %d: %+v, want %s to have sent %d more than %d", i, now, before[0].Name, want, before[0].Sent)
				}
			}
		})
	}
}

// On a node with many pods a sample must stay cheap: it is taken several times a second. reads-per-look 1 is what a
// reader without memory costs.
func BenchmarkRead(b *testing.B) {
	nstest.Enter(b)
	eth0, _ := nstest.Veth(b, "eth0", "x0")
	fifo := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: eth0.Attrs().Index, Parent: netlink.HANDLE_ROOT,
			Handle: netlink.MakeHandle(1, 0)},
		QdiscType: "pfifo",
	}
	if err := netlink.QdiscAdd(fifo); err != nil {
		b.Fatal(err)
	}
	bridge := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
	bridge.Name = "br0"
	if err := netlink.LinkAdd(bridge); err != nil {
		b.Fatal(err)
	}
	for i := range 500 {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = fmt.Sprintf("pod%d", i)
		attrs.MasterIndex = bridge.Attrs().Index
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: fmt.Sprintf("peer%d", i)}); err != nil {
			b.Fatal(err)
		}
		nstest.Up(b, attrs.Name)
		nstest.Up(b, fmt.Sprintf("peer%d", i))
	}
	for name, link := range map[string]netlink.Link{"interface": eth0, "bridge": bridge} {
		r := open(b, link) // the goroutines of sub-benchmarks are outside of the namespace
		for _, reads := range []int{1, lookEvery} {
			b.Run(fmt.Sprintf("%s/reads-per-look=%d", name, reads), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if reads == 1 {
						r.trees = nil
					}
					read(b, r)
				}
			})
		}
	}
}
