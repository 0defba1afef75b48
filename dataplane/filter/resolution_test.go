// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

const (
	arpRequest = 1
	arpReply   = 2

	ndSolicitation  = 135
	ndAdvertisement = 136
)

var (
	broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	zeroMAC   = net.HardwareAddr{0, 0, 0, 0, 0, 0}
)

type arp struct {
	op                   uint16
	senderMAC, targetMAC net.HardwareAddr
	senderIP, targetIP   netip.Addr
}

func (a arp) bytes(dst, src net.HardwareAddr) []byte {
	b := []byte{0, 1, 8, 0, 6, 4}
	b = binary.BigEndian.AppendUint16(b, a.op)
	b = append(append(b, a.senderMAC...), a.senderIP.AsSlice()...)
	b = append(append(b, a.targetMAC...), a.targetIP.AsSlice()...)
	return ethernet(dst, src, etherTypeARP, b)
}

func request(sender, target netip.Addr) []byte {
	return arp{arpRequest, testClientMAC, zeroMAC, sender, target}.bytes(broadcast, testClientMAC)
}

func resolver(t *testing.T) *rig {
	r := newRig(t, XDP)
	r.apply(tableOf(Slot{Own: bucket.All}))
	return r
}

func TestARPRequestIsAnswered(t *testing.T) {
	for name, sender := range map[string]netip.Addr{"request": client4, "probe": netip.IPv4Unspecified()} {
		t.Run(name, func(t *testing.T) {
			r := resolver(t)
			action, got := r.runOut(r.objects.WlbsIngress, request(sender, vip4))
			if action != tcRedirect {
				t.Fatalf("action %d, want a redirect", action)
			}
			want := arp{arpReply, testClusterMAC, testClientMAC, vip4, sender}.bytes(testClientMAC, testHostMAC)
			compare(t, want, got)
			// The answer leaves through the egress program, which finds nothing to mend.
			compare(t, want, r.out(got))
			c := r.counters()
			if c.ResolutionAsked != 1 || c.ResolutionAnswered != 1 || c.SenderRewritten != 0 {
				t.Errorf("counters: %+v", c)
			}
		})
	}
}

func TestARPIngress(t *testing.T) {
	foreign := net.HardwareAddr{2, 9, 9, 9, 9, 9}
	member := netip.MustParseAddr("10.0.0.2")
	for name, row := range map[string]struct {
		frame           []byte
		action          uint32
		asked, conflict uint64
	}{
		"for another address": {request(client4, member), tcNext, 0, 0},
		"announcement of a member": {
			arp{arpRequest, testClusterMAC, zeroMAC, vip4, vip4}.bytes(broadcast, testClientMAC), tcDrop, 0, 0},
		"announcement of an intruder": {
			arp{arpRequest, foreign, zeroMAC, vip4, vip4}.bytes(broadcast, foreign), tcDrop, 0, 1},
		"reply of an intruder": {
			arp{arpReply, foreign, testHostMAC, vip4, member}.bytes(testHostMAC, foreign), tcNext, 0, 1},
		"member asks with the virtual IP as sender": {
			arp{arpRequest, testClusterMAC, zeroMAC, vip4, client4}.bytes(broadcast, testClientMAC), tcNext, 0, 0},
		"not Ethernet": {
			func() []byte { f := request(client4, vip4); f[15] = 6; return f }(), tcNext, 0, 0},
		"cut off": {request(client4, vip4)[:41], tcNext, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolver(t)
			action, out := r.runOut(r.objects.WlbsIngress, row.frame)
			if action != row.action || !bytes.Equal(out, row.frame) {
				t.Errorf("action %d, want %d; frame changed: %t", action, row.action, !bytes.Equal(out, row.frame))
			}
			if c := r.counters(); c.ResolutionAsked != row.asked || c.ResolutionConflict != row.conflict {
				t.Errorf("asked %d, conflicts %d, want %d and %d", c.ResolutionAsked, c.ResolutionConflict, row.asked, row.conflict)
			}
		})
	}
}

// Trap 3 of a virtual IP on lo: the kernel asks with it as the sender, and neighbours learn
// the host's own MAC for it.
func TestARPEgress(t *testing.T) {
	own := netip.MustParseAddr("10.0.0.1")
	for name, row := range map[string]struct {
		in, want  arp
		rewritten uint64
		answered  uint64
	}{
		"request": {
			in:        arp{arpRequest, testHostMAC, zeroMAC, vip4, client4},
			want:      arp{arpRequest, testClusterMAC, zeroMAC, vip4, client4},
			rewritten: 1,
		},
		"reply": {
			in:        arp{arpReply, testHostMAC, testClientMAC, vip4, client4},
			want:      arp{arpReply, testClusterMAC, testClientMAC, vip4, client4},
			rewritten: 1, answered: 1,
		},
		"announcement": {
			in:   arp{arpRequest, testClusterMAC, zeroMAC, vip4, vip4},
			want: arp{arpRequest, testClusterMAC, zeroMAC, vip4, vip4},
		},
		"the host's own address": {
			in:   arp{arpRequest, testHostMAC, zeroMAC, own, client4},
			want: arp{arpRequest, testHostMAC, zeroMAC, own, client4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolver(t)
			compare(t, row.want.bytes(broadcast, testHostMAC), r.out(row.in.bytes(broadcast, testHostMAC)))
			if c := r.counters(); c.SenderRewritten != row.rewritten || c.ResolutionAnswered != row.answered {
				t.Errorf("rewritten %d, answered %d", c.SenderRewritten, c.ResolutionAnswered)
			}
		})
	}
}

// KB Q193602: a switch that learns the cluster MAC sends all traffic to one port.
func TestClusterMACNeverLeavesAsSource(t *testing.T) {
	r := resolver(t)
	p := packetSpec{src: vip4, dst: client4, sport: 80, dport: 40000, etherSource: testClusterMAC}
	if r.out(p.bytes()) != nil {
		t.Error("a frame left with the cluster MAC as its source")
	}
	c, err := r.iface.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if c.SourceBlocked != 1 {
		t.Errorf("counted %d", c.SourceBlocked)
	}
	p.etherSource = testHostMAC
	if r.out(p.bytes()) == nil {
		t.Error("a frame with the host's MAC was dropped")
	}
}

// nd is a neighbour solicitation or advertisement; option is absent where mac is nil.
type nd struct {
	kind             uint8
	flags            uint8
	src, dst, target netip.Addr
	option           uint8
	mac              net.HardwareAddr
	hopLimit         uint8
}

func (n nd) bytes(dst, src net.HardwareAddr) []byte {
	icmp := make([]byte, 8, 32)
	icmp[0], icmp[4] = n.kind, n.flags
	icmp = append(icmp, n.target.AsSlice()...)
	if n.mac != nil {
		icmp = append(append(icmp, n.option, 1), n.mac...)
	}
	binary.BigEndian.PutUint16(icmp[2:], ^icmpv6Sum(n.src, n.dst, icmp))
	ip := make([]byte, 8, 40+len(icmp))
	ip[0], ip[6], ip[7] = 6<<4, icmpv6Protocol, n.hopLimit
	binary.BigEndian.PutUint16(ip[4:], uint16(len(icmp)))
	ip = append(append(ip, n.src.AsSlice()...), n.dst.AsSlice()...)
	return ethernet(dst, src, etherTypeIPv6, append(ip, icmp...))
}

func icmpv6Sum(src, dst netip.Addr, icmp []byte) uint16 {
	pseudo := append(src.AsSlice(), dst.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(icmp)))
	pseudo = binary.BigEndian.AppendUint32(pseudo, icmpv6Protocol)
	return onesComplement(uint32(onesComplement(0, pseudo)), icmp)
}

func TestSolicitationIsAnswered(t *testing.T) {
	group := netip.MustParseAddr("ff02::1:ff00:100")
	groupMAC := net.HardwareAddr{0x33, 0x33, 0xff, 0, 1, 0}
	allNodes := netip.MustParseAddr("ff02::1")
	allNodesMAC := net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	answer := nd{kind: ndAdvertisement, flags: 0x60, src: vip6, dst: client6, target: vip6, option: 2, mac: testClusterMAC, hopLimit: 255}
	for name, row := range map[string]struct {
		asked   nd
		want    nd
		wantMAC net.HardwareAddr
	}{
		"to the group": {
			nd{kind: ndSolicitation, src: client6, dst: group, target: vip6, option: 1, mac: testClientMAC, hopLimit: 255},
			answer, testClientMAC},
		"to the address, without an option": {
			nd{kind: ndSolicitation, src: client6, dst: vip6, target: vip6, hopLimit: 255},
			answer, testClientMAC},
		"duplicate address detection": {
			nd{kind: ndSolicitation, src: netip.IPv6Unspecified(), dst: group, target: vip6, hopLimit: 255},
			func() nd { a := answer; a.flags, a.dst = 0x20, allNodes; return a }(), allNodesMAC},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolver(t)
			action, got := r.runOut(r.objects.WlbsIngress, row.asked.bytes(groupMAC, testClientMAC))
			if action != tcRedirect {
				t.Fatalf("action %d, want a redirect", action)
			}
			want := row.want.bytes(row.wantMAC, testHostMAC)
			compare(t, want, got)
			compare(t, want, r.out(got))
			solicited := row.want.flags&0x40 != 0
			c := r.counters()
			if c.ResolutionAsked != 1 || c.ResolutionAnswered == 1 != solicited || c.SenderRewritten != 0 {
				t.Errorf("counters: %+v", c)
			}
		})
	}
}

// What is admitted is delivered, also if it is a question that the filter answers itself: else an idle host whose neighbours
// check on it would be flagged for a stalled queue.
func TestUnicastSolicitationIsDelivered(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		for name, want := range map[string]uint32{"solicitation": tcRedirect, "advertisement": tcNext} {
			r := owner(t, hook)
			kind := uint8(ndSolicitation)
			if name == "advertisement" {
				kind = ndAdvertisement
			}
			frame := nd{kind: kind, src: client6, dst: vip6, target: vip6, hopLimit: 255}.bytes(testClusterMAC, testClientMAC)
			if hook == XDP {
				if action := r.run(r.objects.WlbsXdp, frame); action != xdpPass {
					t.Fatalf("%s: action %d at XDP, want pass", name, action)
				}
			}
			if action := r.run(r.objects.WlbsIngress, frame); action != want {
				t.Fatalf("%s: action %d, want %d", name, action, want)
			}
			if c := r.counters(); c.Admitted != c.Delivered {
				t.Errorf("%s: admitted %d, delivered %d", name, c.Admitted, c.Delivered)
			}
		}
	})
}

func TestNDIngressLeavesOthersAlone(t *testing.T) {
	solicitation := nd{kind: ndSolicitation, src: client6, dst: vip6, target: vip6, option: 1, mac: testClientMAC, hopLimit: 255}
	for name, change := range map[string]func(*nd){
		"for another address":  func(n *nd) { n.target = netip.MustParseAddr("fd00::1") },
		"from beyond the link": func(n *nd) { n.hopLimit = 254 },
		"advertisement":        func(n *nd) { n.kind = ndAdvertisement },
	} {
		t.Run(name, func(t *testing.T) {
			n := solicitation
			change(&n)
			r := resolver(t)
			frame := n.bytes(testClusterMAC, testClientMAC)
			if action, out := r.runOut(r.objects.WlbsIngress, frame); action != tcNext || !bytes.Equal(out, frame) {
				t.Errorf("action %d, frame changed: %t", action, !bytes.Equal(out, frame))
			}
		})
	}
}

func TestNDEgress(t *testing.T) {
	own := netip.MustParseAddr("fd00::1")
	for name, row := range map[string]struct {
		in        nd
		rewritten bool
	}{
		"solicitation with the virtual IP as source": {
			nd{kind: ndSolicitation, src: vip6, dst: client6, target: client6, option: 1, mac: testHostMAC, hopLimit: 255}, true},
		"advertisement of the virtual IP": {
			nd{kind: ndAdvertisement, flags: 0x60, src: own, dst: client6, target: vip6, option: 2, mac: testHostMAC, hopLimit: 255}, true},
		"solicitation from the host's own address": {
			nd{kind: ndSolicitation, src: own, dst: client6, target: client6, option: 1, mac: testHostMAC, hopLimit: 255}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := resolver(t)
			want := row.in
			if row.rewritten {
				want.mac = testClusterMAC
			}
			compare(t, want.bytes(testClientMAC, testHostMAC), r.out(row.in.bytes(testClientMAC, testHostMAC)))
			if c := r.counters(); c.SenderRewritten == 1 != row.rewritten {
				t.Errorf("rewritten %d", c.SenderRewritten)
			}
		})
	}
}

// Without a lease nobody is told where the virtual IP is, and the kernel must not tell
// either: it would name the NIC's own MAC.
func TestNoResolutionWithoutLease(t *testing.T) {
	r := resolver(t)
	if err := r.Revoke(); err != nil {
		t.Fatal(err)
	}
	solicitation := nd{kind: ndSolicitation, src: client6, dst: vip6, target: vip6, option: 1, mac: testClientMAC, hopLimit: 255}
	for _, frame := range [][]byte{request(client4, vip4), solicitation.bytes(testClusterMAC, testClientMAC)} {
		if action := r.run(r.objects.WlbsIngress, frame); action != tcDrop {
			t.Errorf("action %d, want a drop", action)
		}
	}
	if c := r.counters(); c.ResolutionAsked != 2 || c.ResolutionAnswered != 0 {
		t.Errorf("asked %d, answered %d", c.ResolutionAsked, c.ResolutionAnswered)
	}
}

func TestLease(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook)
		tracked := r.conversation(someClient).open()
		frames := map[string][]byte{
			"SYN":            packetSpec{src: client4, dst: vip4, sport: 50000, dport: 80, flags: flagSYN}.bytes(),
			"tracked":        tracked.packet(flagACK).bytes(),
			"ICMP error":     packetSpec{src: client4, dst: vip4, protocol: icmpProtocol, icmpType: 3, payload: 28}.bytes(),
			"later fragment": packetSpec{src: client4, dst: vip4, protocol: udpProtocol, fragment: 10, payload: 8}.bytes(),
		}
		let := func(want bool) {
			t.Helper()
			for name, frame := range frames {
				before := r.counters().LeaseExpired
				if in := r.in(frame); in != want {
					t.Errorf("%s: let in is %t, want %t", name, in, want)
				}
				if counted := r.counters().LeaseExpired - before; counted == 1 == want {
					t.Errorf("%s: counted %d as without lease", name, counted)
				}
			}
		}
		let(true)
		if err := r.Revoke(); err != nil {
			t.Fatal(err)
		}
		let(false)
		if err := r.RenewLease(Now() + time.Minute); err != nil {
			t.Fatal(err)
		}
		let(true)
		if err := r.RenewLease(Now() - time.Millisecond); err != nil {
			t.Fatal(err)
		}
		let(false)
	})
}

// The lease ends by itself, about when it should: jiffies lag while the hypervisor holds the
// CPU that counts them.
func TestLeaseEnds(t *testing.T) {
	r := owner(t, XDP)
	frame := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80}.bytes()
	const lease, tolerance = time.Second, 500 * time.Millisecond
	end := Now() + lease
	if err := r.RenewLease(end); err != nil {
		t.Fatal(err)
	}
	for {
		before := Now()
		in := r.run(r.objects.WlbsXdp, frame) == xdpPass
		after := Now()
		if !in && after < end-tolerance {
			t.Fatalf("over %s early", end-after)
		}
		if in && before > end+tolerance {
			t.Fatalf("still running %s after its end", before-end)
		}
		if !in {
			return
		}
	}
}
