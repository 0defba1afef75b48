// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// swapped has port 80 in slot n, and slot n is the one of two that owns nothing. Under n = 0
// and under n = 1 port 80 is closed; whoever takes the port's slot from one and the slot's
// buckets from the other lets it in.
func swapped(n int) Table {
	table := tableOf(Slot{})
	table.Rules[0].Slot = uint8(n)
	table.Slots[1-n].Own = bucket.All
	return table
}

// hammer runs wlbs_xdp on frames for port 80 while disturb runs again and again, a second at
// least and until it did so often enough, and requires that no frame is let in.
func (r *rig) hammer(enough int64, disturb func()) {
	r.t.Helper()
	frame := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol}.bytes()
	var (
		stop   atomic.Bool
		rounds atomic.Int64
	)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for !stop.Load() {
			disturb()
			rounds.Add(1)
		}
	}()
	for start := time.Now(); time.Since(start) < time.Second || rounds.Load() < enough; {
		if _, _, err := r.objects.WlbsXdp.Benchmark(frame, 100_000, nil); err != nil {
			r.t.Error(err)
			break
		}
	}
	stop.Store(true)
	<-done
	if c := r.counters(); c.Admitted != 0 || c.Rejected == 0 {
		r.t.Errorf("%d of %d packets saw parts of two epochs", c.Admitted, c.Admitted+c.Rejected)
	}
}

// A packet is judged by one epoch or by the other: here the two lie ready, and the word that
// names the one in force flips as fast as it can.
func TestPacketSeesOneEpoch(t *testing.T) {
	r := newRig(t, XDP)
	r.apply(swapped(0))
	r.apply(swapped(1))
	r.hammer(1_000_000, func() {
		atomic.StoreUint32(&r.state.value.Header.Active, 1-r.state.value.Header.Active)
	})
}

// Apply fills the generation that was in force one commit ago, while packets run.
func TestCommitIsAtomic(t *testing.T) {
	r := newRig(t, XDP)
	r.apply(swapped(1))
	n := 0
	r.hammer(10, func() {
		if err := r.Apply(swapped(n % 2)); err != nil {
			t.Error(err)
		}
		n++
	})
}

// Random rules: the slot in which the program finds each port is the one that the rules say.
func TestPortsMatchRules(t *testing.T) {
	r := newRig(t, XDP)
	vips := []netip.Addr{vip4, netip.MustParseAddr("10.0.0.101"), vip6}
	rapid.Check(t, func(rt *rapid.T) {
		table := Table{VIPs: vips}
		for range rapid.IntRange(0, 12).Draw(rt, "rules") {
			a, b := rapid.Uint16().Draw(rt, "from"), rapid.Uint16().Draw(rt, "to")
			table.Rules = append(table.Rules, Rule{
				VIP:  rapid.SampledFrom([]netip.Addr{{}, {}, vips[0], vips[1], vips[2]}).Draw(rt, "vip"),
				From: min(a, b), To: max(a, b),
				TCP:  rapid.Bool().Draw(rt, "tcp"),
				UDP:  rapid.Bool().Draw(rt, "udp"),
				Slot: uint8(rapid.IntRange(0, bucket.DefaultSlot).Draw(rt, "slot")),
			})
		}
		owned := rapid.IntRange(0, bucket.DefaultSlot).Draw(rt, "owned slot")
		table.Slots[owned].Own = bucket.All
		r.reset(table)
		for range 30 {
			vip := rapid.SampledFrom(vips).Draw(rt, "to vip")
			port := drawPort(rt, &table)
			protocol := rapid.SampledFrom([]uint8{tcpProtocol, udpProtocol}).Draw(rt, "protocol")
			src := client4
			if vip.Is6() {
				src = client6
			}
			p := packetSpec{src: src, dst: vip, sport: 40000, dport: port, protocol: protocol, flags: flagSYN}
			want := slotByRules(&table, vip, port, protocol) == owned
			if in := r.run(r.objects.WlbsXdp, p.bytes()) == xdpPass; in != want {
				rt.Fatalf("port %d of %s, protocol %d: let in is %t, the rules say %t", port, vip, protocol, in, want)
			}
		}
	})
}

// drawPort prefers the edges of ranges.
func drawPort(t *rapid.T, table *Table) uint16 {
	ports := []uint16{0, 65535, rapid.Uint16().Draw(t, "port")}
	for _, r := range table.Rules {
		ports = append(ports, r.From, r.From-1, r.To, r.To+1)
	}
	return rapid.SampledFrom(ports).Draw(t, "which port")
}

// slotByRules is the rule of Rule, in the plainest way.
func slotByRules(t *Table, vip netip.Addr, port uint16, protocol uint8) int {
	slot := bucket.DefaultSlot
	for _, special := range []bool{false, true} {
		for _, r := range t.Rules {
			covers := r.From <= port && port <= r.To && (protocol == tcpProtocol && r.TCP || protocol == udpProtocol && r.UDP)
			if covers && r.VIP.IsValid() == special && (!special || r.VIP == vip) {
				slot = int(r.Slot)
			}
		}
	}
	return slot
}

func manyVIPs(n int) []netip.Addr {
	var vips []netip.Addr
	for i := range n {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0a010000+uint32(i))
		vips = append(vips, netip.AddrFrom4(a))
	}
	return vips
}

// As many virtual IPs as there may be, each with rules of its own.
func TestManyVIPs(t *testing.T) {
	r := newRig(t, XDP)
	table := Table{VIPs: manyVIPs(MaxVIPs)}
	table.Slots[0].Own = bucket.All
	for i, vip := range table.VIPs {
		port := uint16(1000 + 7*i)
		table.Rules = append(table.Rules, Rule{VIP: vip, From: port, To: port, TCP: true})
	}
	r.reset(table)
	for i, vip := range table.VIPs {
		for port, want := range map[uint16]bool{uint16(1000 + 7*i): true, uint16(1007 + 7*i): false} {
			p := packetSpec{src: client4, dst: vip, sport: 40000, dport: port, flags: flagSYN}
			if in := r.run(r.objects.WlbsXdp, p.bytes()) == xdpPass; in != want {
				t.Errorf("%s port %d: let in is %t", vip, port, in)
			}
		}
	}
	beyond := packetSpec{src: client4, dst: netip.MustParseAddr("10.2.0.0"), sport: 40000, dport: 1, flags: flagSYN}
	if r.run(r.objects.WlbsXdp, beyond.bytes()) != xdpPass {
		t.Error("a frame for no virtual IP was dropped")
	}
}

// The perfect hash is perfect for virtual IPs only: other addresses fall into their cells.
func TestNeighbourInCellIsNoVIP(t *testing.T) {
	r := newRig(t, XDP)
	table := tableOf(Slot{})
	r.reset(table)
	cellOf := func(a netip.Addr) uint32 {
		hi, lo := halves(a)
		return vipCell(r.iface.table().Seed, hi, lo)
	}
	other := netip.MustParseAddr("10.3.0.0")
	for cellOf(other) != cellOf(vip4) {
		other = other.Next()
	}
	p := packetSpec{src: client4, dst: other, sport: 40000, dport: 80, flags: flagSYN}
	if r.run(r.objects.WlbsXdp, p.bytes()) != xdpPass {
		t.Errorf("a frame for %s was taken for one for %s", other, vip4)
	}
}

func TestValidate(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Table)
		want   string
	}{
		"valid":            {func(*Table) {}, ""},
		"too many VIPs":    {func(t *Table) { t.VIPs = append(manyVIPs(MaxVIPs-1), vip4, vip6) }, "256 virtual IPs, at most 255"},
		"VIP twice":        {func(t *Table) { t.VIPs = append(t.VIPs, netip.AddrFrom16(vip4.As16())) }, "virtual IP ::ffff:10.0.0.100: listed twice"},
		"multicast VIP":    {func(t *Table) { t.VIPs[0] = netip.MustParseAddr("224.0.0.1"); t.Rules = nil }, "virtual IP 224.0.0.1: not a unicast address"},
		"no address":       {func(t *Table) { t.VIPs = append(t.VIPs, netip.Addr{}) }, "virtual IP invalid IP: not a unicast address"},
		"ports reversed":   {func(t *Table) { t.Rules[0].From = 81 }, "rule 0: ports 81 to 80"},
		"no such slot":     {func(t *Table) { t.Rules[0].Slot = 33 }, "rule 0: slot 33, at most 32"},
		"rule of no VIP":   {func(t *Table) { t.Rules[0].VIP = client4 }, "rule 0: 10.0.0.7 is no virtual IP"},
		"bucket 60":        {func(t *Table) { t.Slots[3].Own = 1 << 60 }, "slot 3: no bucket beyond 59"},
		"unknown affinity": {func(t *Table) { t.Slots[3].Affinity = 3 }, "slot 3: mode 0, affinity 3"},
	} {
		t.Run(name, func(t *testing.T) {
			table := tableOf(Slot{})
			row.change(&table)
			got := ""
			if err := table.Validate(); err != nil {
				got = err.Error()
			}
			compare(t, row.want, got)
		})
	}
}

func TestTooManyPortRanges(t *testing.T) {
	table := Table{VIPs: manyVIPs(MaxVIPs)}
	for i, vip := range table.VIPs {
		for n := range 10 {
			port := uint16(n*300 + i)
			table.Rules = append(table.Rules, Rule{VIP: vip, From: port, To: port, TCP: true, Slot: uint8(n)})
		}
	}
	if _, err := compile(&table); err == nil {
		t.Fatal("more port ranges than there is room for were taken")
	}
}

func TestApplyKeepsFormerTableOnError(t *testing.T) {
	r := owner(t, XDP)
	bad := tableOf(Slot{})
	bad.Rules[0].Slot = 33
	if err := r.Apply(bad); err == nil {
		t.Fatal("a bad table was applied")
	}
	if !r.conversation(someClient).says(flagSYN) {
		t.Error("the former table is not in force any more")
	}
}

func TestSetBusyNeedsTable(t *testing.T) {
	if err := newRig(t, XDP).SetBusy(bucket.Table{}); err == nil {
		t.Fatal("busy buckets without a table were taken")
	}
}
