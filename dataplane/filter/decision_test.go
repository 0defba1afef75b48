// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// outcome is which counter of the filter a frame ends in.
type outcome int

const (
	passed outcome = iota // not for a virtual IP: not counted
	admitted
	rejected
	invalid
)

func (o outcome) String() string {
	return [...]string{"passed", "admitted", "rejected", "invalid"}[o]
}

func (r *rig) outcome(frame []byte) outcome {
	r.t.Helper()
	before := r.counters()
	in := r.in(frame)
	after := r.counters()
	got := passed
	switch {
	case after.Admitted == before.Admitted+1:
		got = admitted
	case after.Rejected == before.Rejected+1:
		got = rejected
	case after.Invalid == before.Invalid+1:
		got = invalid
	}
	if in != (got == passed || got == admitted) {
		r.t.Fatalf("counted as %s, but in is %t", got, in)
	}
	if delivered := after.Delivered - before.Delivered; delivered == 1 != (got == admitted) {
		r.t.Fatalf("counted as %s, but delivered %d", got, delivered)
	}
	return got
}

// roles of the host towards the bucket of the client.
func mine(client netip.AddrPort, a Affinity) bucket.Map {
	s := Slot{Affinity: a}
	return bucket.Map(0).With(s.Bucket(client))
}

func notMine(client netip.AddrPort, a Affinity) bucket.Map {
	return bucket.All.Minus(mine(client, a))
}

// The decision table of design section 8 for what is not about tracked connections, with
// each row in both families and at both hooks.
func TestDecision(t *testing.T) {
	type row struct {
		name   string
		packet packetSpec
		slot   func(netip.AddrPort, Affinity) bucket.Map
		mode   Mode
		of     Affinity
		want   outcome
	}
	const sport = 40000
	rows := []row{
		{name: "SYN, own bucket", packet: packetSpec{flags: flagSYN}, slot: mine, want: admitted},
		{name: "SYN, foreign bucket", packet: packetSpec{flags: flagSYN}, slot: notMine, want: rejected},
		{name: "TCP in mid-stream, own bucket at rest", packet: packetSpec{}, slot: mine, want: admitted},
		{name: "TCP in mid-stream, foreign bucket", packet: packetSpec{}, slot: notMine, want: rejected},
		{name: "SYN-ACK, foreign bucket", packet: packetSpec{flags: flagSYN | flagACK}, slot: notMine, want: rejected},
		{name: "FIN, foreign bucket", packet: packetSpec{flags: flagFIN | flagACK}, slot: notMine, want: rejected},
		{name: "RST, own bucket", packet: packetSpec{flags: flagRST}, slot: mine, want: admitted},
		{name: "TCP with payload", packet: packetSpec{payload: 1000}, slot: mine, want: admitted},
		{name: "affinity Single, own", packet: packetSpec{flags: flagSYN}, slot: mine, of: AffinitySingle, want: admitted},
		{name: "affinity Single, foreign", packet: packetSpec{flags: flagSYN}, slot: notMine, of: AffinitySingle, want: rejected},
		{name: "affinity Network, own", packet: packetSpec{flags: flagSYN}, slot: mine, of: AffinityNetwork, want: admitted},
		{name: "affinity Network, foreign", packet: packetSpec{flags: flagSYN}, slot: notMine, of: AffinityNetwork, want: rejected},
		{name: "UDP, own bucket", packet: packetSpec{protocol: udpProtocol}, slot: mine, want: admitted},
		{name: "UDP, foreign bucket", packet: packetSpec{protocol: udpProtocol}, slot: notMine, want: rejected},
		{name: "UDP without payload, affinity Single", packet: packetSpec{protocol: udpProtocol}, slot: mine, of: AffinitySingle, want: admitted},
		{name: "rule disabled, TCP", packet: packetSpec{flags: flagSYN}, slot: mine, mode: ModeDisabled, want: rejected},
		{name: "rule disabled, UDP", packet: packetSpec{protocol: udpProtocol}, slot: mine, mode: ModeDisabled, want: rejected},
		{name: "Single mode, this host", packet: packetSpec{flags: flagSYN}, slot: func(netip.AddrPort, Affinity) bucket.Map { return bucket.All }, mode: ModeSingle, want: admitted},
		{name: "Single mode, another host", packet: packetSpec{flags: flagSYN}, slot: func(netip.AddrPort, Affinity) bucket.Map { return 0 }, mode: ModeSingle, want: rejected},
	}
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		for _, row := range rows {
			for _, family := range []struct {
				name     string
				src, dst netip.Addr
			}{{"IPv4", client4, vip4}, {"IPv6", client6, vip6}} {
				t.Run(row.name+"/"+family.name, func(t *testing.T) {
					r.t = t
					p := row.packet
					p.src, p.dst, p.sport, p.dport = family.src, family.dst, sport, 80
					client := netip.AddrPortFrom(p.src, p.sport)
					r.reset(tableOf(Slot{Filter: row.mode, Affinity: row.of, Own: row.slot(client, row.of)}))
					if got := r.outcome(p.bytes()); got != row.want {
						t.Errorf("%s, want %s", got, row.want)
					}
				})
			}
		}
	})
}

// What no rule covers is the default host's, who owns all buckets of the default slot.
func TestDefaultSlot(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		for _, row := range []struct {
			name        string
			packet      packetSpec
			defaultHost outcome
			others      outcome
		}{
			{"TCP port without a rule", packetSpec{dport: 81, flags: flagSYN}, admitted, rejected},
			{"UDP port without a rule", packetSpec{dport: 81, protocol: udpProtocol}, admitted, rejected},
			{"a protocol without ports", packetSpec{protocol: greProtocol, payload: 8}, admitted, rejected},
			{"echo request", packetSpec{protocol: icmpProtocol, icmpType: 8}, admitted, rejected},
			{"timestamp request", packetSpec{protocol: icmpProtocol, icmpType: 13, payload: 12}, admitted, rejected},
			{"echo reply", packetSpec{protocol: icmpProtocol, icmpType: 0}, admitted, admitted},
			{"unreachable", packetSpec{protocol: icmpProtocol, icmpType: 3, payload: 28}, admitted, admitted},
			{"time exceeded", packetSpec{protocol: icmpProtocol, icmpType: 11, payload: 28}, admitted, admitted},
			{"IPv6 echo request", packetSpec{src: client6, dst: vip6, protocol: icmpv6Protocol, icmpType: 128}, admitted, rejected},
			{"IPv6 packet too big", packetSpec{src: client6, dst: vip6, protocol: icmpv6Protocol, icmpType: 2, payload: 48}, admitted, admitted},
			{"IPv6 echo reply", packetSpec{src: client6, dst: vip6, protocol: icmpv6Protocol, icmpType: 129}, admitted, admitted},
		} {
			t.Run(row.name, func(t *testing.T) {
				r.t = t
				p := row.packet
				if !p.src.IsValid() {
					p.src, p.dst = client4, vip4
				}
				for _, host := range []struct {
					own  bucket.Map
					want outcome
				}{{bucket.All, row.defaultHost}, {0, row.others}} {
					table := tableOf(Slot{Own: bucket.All})
					table.Slots[bucket.DefaultSlot].Own = host.own
					r.reset(table)
					if got := r.outcome(p.bytes()); got != host.want {
						t.Errorf("with default buckets %s: %s, want %s", host.own, got, host.want)
					}
				}
			})
		}
	})
}

// Frames that are none of the filter's business, and frames no host may have.
func TestOddFrames(t *testing.T) {
	tcp := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, flags: flagSYN}
	tcp6 := packetSpec{src: client6, dst: vip6, sport: 40000, dport: 80, flags: flagSYN}
	udp := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol}
	with := func(p packetSpec, change func(*packetSpec)) packetSpec {
		change(&p)
		return p
	}
	from := func(addr string) packetSpec {
		src := netip.MustParseAddr(addr)
		if src.Is4() {
			return with(tcp, func(p *packetSpec) { p.src = src })
		}
		return with(tcp6, func(p *packetSpec) { p.src = src })
	}
	set := func(p packetSpec, offset int, values ...byte) packetSpec {
		return with(p, func(p *packetSpec) { p.mutate = func(f []byte) { copy(f[offset:], values) } })
	}
	flags := func(f uint8) packetSpec { return with(tcp, func(p *packetSpec) { p.flags = f }) }
	cut := func(p packetSpec, n int) packetSpec { return with(p, func(p *packetSpec) { p.truncate = n }) }

	rows := map[string]struct {
		packet packetSpec
		want   outcome
	}{
		"another destination":              {with(tcp, func(p *packetSpec) { p.dst = netip.MustParseAddr("10.0.0.1") }), passed},
		"another IPv6 destination":         {with(tcp6, func(p *packetSpec) { p.dst = netip.MustParseAddr("fd00::1") }), passed},
		"from another EtherType":           {set(tcp, 12, 0x81, 0x00), passed},
		"IP options":                       {with(tcp, func(p *packetSpec) { p.options = make([]byte, 12) }), admitted},
		"Q244084: source 0.0.0.0":          {from("0.0.0.0"), invalid},
		"Q244084: source ::":               {from("::"), invalid},
		"source in 0.0.0.0/8":              {from("0.1.2.3"), invalid},
		"loopback source":                  {from("127.0.0.1"), invalid},
		"IPv6 loopback source":             {from("::1"), invalid},
		"multicast source":                 {from("224.0.0.1"), invalid},
		"IPv6 multicast source":            {from("ff02::1"), invalid},
		"broadcast source":                 {from("255.255.255.255"), invalid},
		"IPv4-mapped source":               {from("::ffff:10.0.0.7"), invalid},
		"IPv4-mapped destination":          {with(tcp6, func(p *packetSpec) { p.dst = netip.AddrFrom16(vip4.As16()) }), invalid},
		"source is the virtual IP (LAND)":  {from(vip4.String()), invalid},
		"version 5":                        {set(tcp, 14, 5<<4|5), invalid},
		"header length below 20":           {set(tcp, 14, 4<<4|4), invalid},
		"header beyond total length":       {set(tcp, 14, 4<<4|15), invalid},
		"total length below the header":    {set(tcp, 16, 0, 19), invalid},
		"total length beyond the frame":    {set(tcp, 16, 1, 0), invalid},
		"total length cuts the TCP header": {set(tcp, 16, 0, 39), invalid},
		"TCP header cut off":               {cut(tcp, 1), invalid},
		"UDP header cut off":               {cut(udp, 1), invalid},
		"IPv6 payload length beyond frame": {set(tcp6, 18, 1, 0), invalid},
		"IPv6 version 4":                   {set(tcp6, 14, 4<<4), invalid},
		"padded to the minimum": {with(udp, func(p *packetSpec) {
			p.payload = 18
			p.mutate = func(f []byte) { binary.BigEndian.PutUint16(f[16:], 28) }
		}), admitted},
		"TCP data offset below 5":        {set(tcp, 14+20+12, 4<<4), invalid},
		"TCP data offset beyond segment": {set(tcp, 14+20+12, 15<<4), invalid},
		"TCP without a flag":             {set(tcp, 14+20+13, 0), invalid},
		"SYN and FIN":                    {flags(flagSYN | flagFIN), invalid},
		"SYN and RST":                    {flags(flagSYN | flagRST), invalid},
		"echo request cut off":           {cut(packetSpec{src: client4, dst: vip4, protocol: icmpProtocol, icmpType: 8}, 1), invalid},
	}
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				r.t = t
				r.reset(tableOf(Slot{Own: bucket.All}))
				if got := r.outcome(row.packet.bytes()); got != row.want {
					t.Errorf("%s, want %s", got, row.want)
				}
				if c := r.sweep(Now()); row.want == invalid && c.Count+c.HalfOpen > 0 {
					t.Errorf("left state: %+v", c)
				}
			})
		}
	})
}

// Frames too short to say whom they are for pass XDP; the kernel counts and drops them.
func TestShortFrames(t *testing.T) {
	r := newRig(t, XDP)
	r.apply(tableOf(Slot{Own: bucket.All}))
	for _, p := range []packetSpec{
		{src: client4, dst: vip4, truncate: 21},
		{src: client4, dst: vip4, truncate: 40},
		{src: client6, dst: vip6, truncate: 21},
	} {
		frame := p.bytes()
		if action := r.run(r.objects.WlbsXdp, frame); action != xdpPass {
			t.Errorf("%d octets: action %d", len(frame), action)
		}
	}
	if c := r.counters(); c.Admitted+c.Rejected+c.Invalid != 0 {
		t.Errorf("counted: %+v", c)
	}
}

// A jumbo frame comes in several buffers, of which the program sees the first: the lengths
// of all count.
func TestJumboFrames(t *testing.T) {
	r := newRig(t, XDP)
	r.apply(tableOf(Slot{Own: bucket.All}))
	for _, p := range []packetSpec{
		{src: client4, dst: vip4, sport: 40000, dport: 80, payload: 8900},
		{src: client6, dst: vip6, sport: 40000, dport: 80, payload: 8900},
	} {
		for cut, want := range map[int]uint32{0: xdpPass, 1: xdpDrop} {
			p.truncate = cut
			options := &ebpf.RunOptions{Data: p.bytes(), DataOut: make([]byte, 16384)}
			action, err := r.objects.WlbsXdp.Run(options)
			if err != nil {
				t.Fatal(err)
			}
			if action != want {
				t.Errorf("from %s, %d octets missing: action %d, want %d", p.src, cut, action, want)
			}
		}
	}
}

// IPv6 extension headers are skipped up to six, and counted against the length.
func TestIPv6Extensions(t *testing.T) {
	rigs := []*rig{newRig(t, XDP), newRig(t, TCX)}
	const hopByHop, routing, destination, authentication = 0, 43, 60, 51
	header := func(next, length uint8) []byte {
		h := make([]byte, (int(length)+1)*8)
		h[0], h[1] = next, length
		return h
	}
	chain := func(n int) []byte {
		var b []byte
		for range n - 1 {
			b = append(b, header(destination, 0)...)
		}
		return append(b, header(tcpProtocol, 0)...)
	}
	ah := make([]byte, 24)
	ah[0], ah[1] = tcpProtocol, 4 // in units of 4 octets, less 2
	// Headers beyond the payload length, in what then is padding of the Ethernet frame.
	padding := func(length byte) func([]byte) {
		return func(f []byte) { f[18], f[19] = 0, length }
	}
	later := []byte{tcpProtocol, 0, 1, 0, 0, 0, 0, 0}
	for name, row := range map[string]struct {
		first      uint8
		extensions []byte
		want       outcome
		mutate     func([]byte)
	}{
		"hop-by-hop":                         {hopByHop, header(tcpProtocol, 0), admitted, nil},
		"routing of 24 octets":               {routing, header(tcpProtocol, 2), admitted, nil},
		"authentication":                     {authentication, ah, admitted, nil},
		"six of them":                        {destination, chain(6), admitted, nil},
		"seven of them":                      {destination, chain(7), invalid, nil},
		"longer than the frame":              {destination, append([]byte{tcpProtocol, 200}, make([]byte, 6)...), invalid, nil},
		"ends in padding":                    {destination, header(tcpProtocol, 1), invalid, padding(12)},
		"later fragment's header in padding": {44, later, invalid, padding(4)},
		"transport header in padding":        {destination, header(tcpProtocol, 0), invalid, padding(8)},
	} {
		for _, r := range rigs {
			t.Run(name+"/"+r.hook.String(), func(t *testing.T) {
				r.t = t
				client := netip.AddrPortFrom(client6, 40000)
				r.apply(tableOf(Slot{Own: mine(client, AffinityNone)}))
				p := packetSpec{src: client6, dst: vip6, sport: 40000, dport: 80, flags: flagSYN, firstNext: row.first, extensions: row.extensions, mutate: row.mutate}
				if got := r.outcome(p.bytes()); got != row.want {
					t.Errorf("%s, want %s", got, row.want)
				}
			})
		}
	}
}

// Q247819, Q229064: with an affinity, all fragments of a datagram go to the same host; with
// affinity None every host takes the later ones, since they carry no port.
func TestFragments(t *testing.T) {
	rigs := []*rig{newRig(t, XDP), newRig(t, TCX)}
	whole := func(slot Slot) Table { // one rule for all ports: what the KB advises
		table := tableOf(slot)
		table.Rules[0].From, table.Rules[0].To = 0, 65535
		return table
	}
	part := tableOf
	first4 := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol, payload: 1400, more: true}
	later4 := packetSpec{src: client4, dst: vip4, protocol: udpProtocol, payload: 1400, fragment: 176}
	fragment6 := func(offset uint16) []byte {
		h := make([]byte, 8)
		h[0] = udpProtocol
		binary.BigEndian.PutUint16(h[2:], offset<<3|1)
		return h
	}
	first6 := packetSpec{src: client6, dst: vip6, sport: 40000, dport: 80, protocol: udpProtocol, payload: 1400, firstNext: 44, extensions: fragment6(0)}
	later6 := first6
	later6.extensions = fragment6(176)

	for _, row := range []struct {
		name         string
		table        func(Slot) Table
		affinity     Affinity
		mode         Mode
		own          func(netip.AddrPort, Affinity) bucket.Map
		first, later outcome
	}{
		{"one rule, Single, own", whole, AffinitySingle, ModeMultiple, mine, admitted, admitted},
		{"one rule, Single, foreign", whole, AffinitySingle, ModeMultiple, notMine, rejected, rejected},
		{"one rule, Network, own", whole, AffinityNetwork, ModeMultiple, mine, admitted, admitted},
		{"one rule, Network, foreign", whole, AffinityNetwork, ModeMultiple, notMine, rejected, rejected},
		{"one rule, None, own", whole, AffinityNone, ModeMultiple, mine, admitted, admitted},
		{"one rule, None, foreign", whole, AffinityNone, ModeMultiple, notMine, rejected, admitted},
		{"one rule, disabled", whole, AffinityNone, ModeDisabled, mine, rejected, rejected},
		{"several rules, Single, foreign", part, AffinitySingle, ModeMultiple, notMine, rejected, admitted},
	} {
		for _, r := range rigs {
			t.Run(row.name+"/"+r.hook.String(), func(t *testing.T) {
				r.t = t
				for _, f := range []struct {
					name         string
					first, later packetSpec
				}{{"IPv4", first4, later4}, {"IPv6", first6, later6}} {
					client := netip.AddrPortFrom(f.first.src, f.first.sport)
					r.reset(row.table(Slot{Filter: row.mode, Affinity: row.affinity, Own: row.own(client, row.affinity)}))
					if got := r.outcome(f.first.bytes()); got != row.first {
						t.Errorf("%s, first fragment: %s, want %s", f.name, got, row.first)
					}
					if got := r.outcome(f.later.bytes()); got != row.later {
						t.Errorf("%s, later fragment: %s, want %s", f.name, got, row.later)
					}
				}
			})
		}
	}
}

func TestHeartbeatIsStamped(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		counters := func() InterfaceCounters {
			t.Helper()
			c, err := r.iface.Counters()
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		if seen := counters().HeartbeatSeen; seen != 0 {
			t.Fatalf("seen at %s before any came", seen)
		}
		if got := r.outcome(ethernet(testClusterMAC, testClientMAC, etherTypeHeartbeat, make([]byte, 1496))); got != passed {
			t.Fatalf("a heartbeat was %s", got)
		}
		c := counters()
		if age := Now() - c.HeartbeatSeen; c.Heartbeats != 1 || age < 0 || age.Minutes() > 1 {
			t.Errorf("%d heartbeats, the last %s ago", c.Heartbeats, age)
		}
	})
}

// Accepted and dropped packets count under the slot that decided, connection requests apart; what no slot decides counts
// under none.
func TestSlotCounters(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		table := tableOf(Slot{Affinity: AffinityNone, Own: bucket.All})
		table.Slots[3] = Slot{Affinity: AffinityNone}
		table.Slots[bucket.DefaultSlot] = Slot{Affinity: AffinitySingle, Own: bucket.All}
		table.Rules = []Rule{{From: 80, To: 80, TCP: true, UDP: true, Slot: 0}, {From: 81, To: 81, TCP: true, UDP: true, Slot: 3}}
		r := newRig(t, hook)
		r.apply(table)
		tcp := func(port uint16, flags uint8) []byte {
			return packetSpec{src: client4, dst: vip4, sport: 40000, dport: port, flags: flags}.bytes()
		}
		for range 3 {
			r.in(tcp(80, flagSYN))
		}
		for range 2 {
			r.in(tcp(80, flagACK))
			r.in(tcp(81, flagSYN))
		}
		r.in(tcp(9, flagSYN))
		r.in(tcp(80, flagSYN)[:40])
		var want [bucket.Slots]SlotCounters
		want[0] = SlotCounters{Accepted: 5, Opened: 3}
		want[3] = SlotCounters{Dropped: 2}
		want[bucket.DefaultSlot] = SlotCounters{Accepted: 1, Opened: 1}
		compare(t, want, r.counters().Slots)
	})
}
