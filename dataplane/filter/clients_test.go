// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

const (
	stickyRule = 0xaffe
	stickyFor  = time.Minute
)

func stickySlot(affinity Affinity, own bucket.Map) Slot {
	return Slot{Affinity: affinity, Own: own, Sticky: stickyRule, StickyFor: stickyFor}
}

// stickyClient returns how the filter knows a client.
func stickyClient(addr netip.Addr, affinity Affinity) sticky.Client {
	s := Slot{Affinity: affinity}
	return sticky.Client{Rule: stickyRule, Addr: s.masked(addr).As16()}
}

// except makes another host hold a client.
func (r *rig) except(c sticky.Client) {
	r.t.Helper()
	if err := r.SetExceptions(map[sticky.Client]uint8{c: 2}, nil); err != nil {
		r.t.Fatal(err)
	}
}

// forget leaves no client and no exception.
func (r *rig) forget() {
	r.t.Helper()
	held, err := r.Exceptions()
	for c := range held {
		err = errors.Join(err, r.SetExceptions(nil, []sticky.Client{c}))
	}
	err = errors.Join(err, r.eachClient(func(c *sticky.Client, _ *wlbsClient) { err = errors.Join(err, r.deleteClient(c)) }))
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantHeld(own, away int) {
	r.t.Helper()
	held, err := r.Held()
	if err != nil {
		r.t.Fatal(err)
	}
	if len(held.Own) != own || len(held.Away) != away {
		r.t.Errorf("%d clients in own buckets and %d in others, want %d and %d", len(held.Own), len(held.Away), own, away)
	}
}

// The accept rule of US8046467, claim 1: each row in both families, by address and by network, at both hooks.
func TestExtendedAffinityDecision(t *testing.T) {
	const sport = 40000
	syn, ack, udp := packetSpec{flags: flagSYN}, packetSpec{flags: flagACK}, packetSpec{protocol: udpProtocol}
	rows := []struct {
		name               string
		packet             packetSpec
		own, held, exclude bool
		tracked            bool
		want               outcome
	}{
		{name: "SYN, own bucket", packet: syn, own: true, want: admitted},
		{name: "SYN, own bucket, client held elsewhere", packet: syn, own: true, exclude: true, want: rejected},
		{name: "SYN, foreign bucket", packet: syn, want: rejected},
		{name: "SYN, foreign bucket, client held here", packet: syn, held: true, want: admitted},
		{name: "SYN, foreign bucket, client held elsewhere", packet: syn, exclude: true, want: rejected},
		{name: "mid-stream, own bucket", packet: ack, own: true, want: admitted},
		{name: "mid-stream, own bucket, client held elsewhere", packet: ack, own: true, exclude: true, want: rejected},
		{name: "mid-stream, own bucket, client held elsewhere, tracked", packet: ack, own: true, exclude: true, tracked: true, want: admitted},
		{name: "mid-stream, foreign bucket, client held here, tracked", packet: ack, held: true, tracked: true, want: admitted},
		{name: "mid-stream, foreign bucket, client held here, unknown", packet: ack, held: true, want: rejected},
		{name: "mid-stream, foreign bucket, tracked", packet: ack, tracked: true, want: admitted},
		{name: "UDP, own bucket", packet: udp, own: true, want: admitted},
		{name: "UDP, own bucket, client held elsewhere", packet: udp, own: true, exclude: true, want: rejected},
		{name: "UDP, foreign bucket", packet: udp, want: rejected},
		{name: "UDP, foreign bucket, client held here", packet: udp, held: true, want: admitted},
	}
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		for _, row := range rows {
			for _, affinity := range []Affinity{AffinitySingle, AffinityNetwork} {
				for name, addr := range map[string]netip.Addr{"IPv4": client4, "IPv6": client6} {
					t.Run(row.name+"/"+name, func(t *testing.T) {
						r.t = t
						client := netip.AddrPortFrom(addr, sport)
						r.forget()
						r.reset(tableOf(stickySlot(affinity, bucket.All)))
						c := r.conversation(client)
						if row.held || row.tracked {
							c.open()
						}
						own := notMine(client, affinity)
						if row.own {
							own = mine(client, affinity)
						}
						r.apply(tableOf(stickySlot(affinity, own)))
						if !row.held {
							if err := r.DropClients([]sticky.Client{stickyClient(addr, affinity)}); err != nil {
								t.Fatal(err)
							}
						}
						if row.exclude {
							r.except(stickyClient(addr, affinity))
						}
						if !row.tracked {
							clearMap(t, r.maps.byName[wlbsMapConnections])
							r.sweep(Now() + settled)
						}
						p := row.packet
						p.src, p.dst, p.sport, p.dport = addr, c.vip, sport, 80
						if got := r.outcome(p.bytes()); got != row.want {
							t.Errorf("%s, want %s", got, row.want)
						}
					})
				}
			}
		}
	})
}

// A client is kept from its first whole handshake, or its first datagram, in an own bucket, unless another host holds it.
func TestWhoIsKept(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		start := func(t *testing.T, own bucket.Map) {
			t.Helper()
			r.t = t
			r.forget()
			r.reset(tableOf(stickySlot(AffinitySingle, own)))
		}
		datagram := packetSpec{src: client4, dst: vip4, sport: 5000, dport: 80, protocol: udpProtocol}
		t.Run("SYN alone", func(t *testing.T) {
			start(t, bucket.All)
			r.conversation(someClient).says(flagSYN)
			r.sweep(Now())
			r.wantHeld(0, 0)
		})
		t.Run("handshake", func(t *testing.T) {
			start(t, bucket.All)
			r.conversation(someClient).open()
			r.wantHeld(1, 0)
			r.conversation(netip.AddrPortFrom(client4, 40001)).open()
			r.wantHeld(1, 0)
			r.apply(tableOf(stickySlot(AffinitySingle, notMine(someClient, AffinitySingle))))
			r.wantHeld(0, 1)
		})
		t.Run("datagram", func(t *testing.T) {
			start(t, bucket.All)
			if !r.in(datagram.bytes()) {
				t.Fatal("not let in")
			}
			r.wantHeld(1, 0)
		})
		t.Run("connection whose handshake nobody saw", func(t *testing.T) {
			start(t, bucket.All)
			c := r.conversation(someClient)
			c.says(flagACK)
			c.hears(flagACK)
			r.sweep(Now())
			r.wantHeld(1, 0)
		})
		t.Run("handshake that ends after the bucket moved", func(t *testing.T) {
			start(t, bucket.All)
			c := r.conversation(someClient)
			c.says(flagSYN)
			r.apply(tableOf(stickySlot(AffinitySingle, 0)))
			if !c.says(flagACK) {
				t.Fatal("the handshake's last segment was rejected")
			}
			r.sweep(Now())
			r.wantHeld(0, 0)
		})
		t.Run("held elsewhere", func(t *testing.T) {
			start(t, bucket.All)
			c := r.conversation(someClient)
			c.says(flagSYN)
			r.except(stickyClient(client4, AffinitySingle))
			if !c.says(flagACK) {
				t.Fatal("the handshake's last segment was rejected")
			}
			r.sweep(Now())
			r.wantHeld(0, 0)
		})
		t.Run("rule without", func(t *testing.T) {
			start(t, bucket.All)
			r.reset(tableOf(Slot{Affinity: AffinitySingle, Own: bucket.All}))
			r.conversation(someClient).open()
			r.in(datagram.bytes())
			if n := r.sweep(Now()).Clients; n != 0 {
				t.Errorf("%d clients", n)
			}
		})
	})
}

// The time runs from the end of the last connection, and from the last datagram.
func TestClientsExpire(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		want := func(at time.Duration, clients int) {
			t.Helper()
			if got := r.sweep(at).Clients; got != clients {
				t.Errorf("%d clients, want %d", got, clients)
			}
		}
		start := func() {
			r.forget()
			r.reset(tableOf(stickySlot(AffinitySingle, bucket.All)))
		}
		start()
		c := r.conversation(someClient).open()
		far := Now() + 10*stickyFor
		want(far, 1) // it is open
		start()
		c.open()
		c.says(flagFIN | flagACK)
		c.hears(flagFIN | flagACK)
		closed := Now()
		want(closed+stickyFor-time.Second, 1)
		want(closed+stickyFor+time.Second, 0)
		start()
		r.in(packetSpec{src: client4, dst: vip4, sport: 5000, dport: 80, protocol: udpProtocol}.bytes())
		sent := Now()
		want(sent+stickyFor-time.Second, 1)
		want(sent+stickyFor+time.Second, 0)
	})
}

// A rule that is no more, or under which this host holds nobody any more, leaves no client behind.
func TestClientsOfRulesThatEnd(t *testing.T) {
	r := owner(t, XDP)
	r.apply(tableOf(stickySlot(AffinitySingle, bucket.All)))
	r.conversation(someClient).open()
	r.wantHeld(1, 0)
	r.apply(tableOf(Slot{Affinity: AffinitySingle, Own: bucket.All}))
	r.apply(tableOf(stickySlot(AffinitySingle, 0)))
	r.wantHeld(0, 0)
	if r.conversation(netip.AddrPortFrom(client4, 40001)).says(flagSYN) {
		t.Error("a client that was forgotten was let in")
	}
}

// What other hosts hold can change hosts and go.
func TestExceptionsAreReplaced(t *testing.T) {
	r := owner(t, XDP)
	a, b := stickyClient(client4, AffinitySingle), stickyClient(client6, AffinitySingle)
	if err := r.SetExceptions(map[sticky.Client]uint8{a: 2, b: 2}, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.SetExceptions(map[sticky.Client]uint8{b: 3}, []sticky.Client{a}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Exceptions()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, map[sticky.Client]uint8{b: 3}, got)
}

// A flood cannot push out those that are kept: those beyond are served, and counted.
func TestClientsFull(t *testing.T) {
	r := owner(t, XDP, func(c *Config) { c.maxClients = 8 })
	r.apply(tableOf(stickySlot(AffinitySingle, bucket.All)))
	r.conversation(someClient).open()
	for i := range 64 {
		src := netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})
		if !r.in(packetSpec{src: src, dst: vip4, sport: 5000, dport: 80, protocol: udpProtocol}.bytes()) {
			t.Fatal("a datagram was rejected")
		}
	}
	if c := r.counters(); c.ClientsFull != 57 {
		t.Errorf("%d clients found no room, want 57", c.ClientsFull)
	}
	r.apply(tableOf(stickySlot(AffinitySingle, 0)))
	if !r.conversation(netip.AddrPortFrom(client4, 40001)).says(flagSYN) {
		t.Error("a flood pushed a client out")
	}
}

// Later fragments go where the first one went, if the rule covers all ports.
func TestFragmentsOfHeldClients(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		table := func(own bucket.Map) Table {
			table := tableOf(stickySlot(AffinitySingle, own))
			table.Rules[0].From, table.Rules[0].To = 0, 65535
			return table
		}
		later := packetSpec{src: client4, dst: vip4, protocol: udpProtocol, payload: 1400, fragment: 176}.bytes()
		first := packetSpec{src: client4, dst: vip4, sport: 5000, dport: 80, protocol: udpProtocol}.bytes()
		r.reset(table(bucket.All))
		if !r.in(first) || !r.in(later) {
			t.Fatal("rejected in an own bucket")
		}
		r.apply(table(0))
		r.sweep(Now() + settled)
		if !r.in(later) {
			t.Error("rejected though the client is held here")
		}
		r.forget()
		if r.in(later) {
			t.Error("let in though nothing is held here")
		}
		r.apply(table(bucket.All))
		r.except(stickyClient(client4, AffinitySingle))
		if r.in(later) {
			t.Error("let in though the client is held elsewhere")
		}
	})
}

// The next agent finds clients and exceptions; one that comes after an agent without extended affinity finds the connections.
func TestReopenKeepsClients(t *testing.T) {
	n := newNode(t)
	f := n.serve()
	sticks := tableOf(stickySlot(AffinitySingle, bucket.All))
	other := stickyClient(client6, AffinitySingle)
	if err := errors.Join(f.Apply(sticks), f.SetExceptions(map[sticky.Client]uint8{other: 3}, nil)); err != nil {
		t.Fatal(err)
	}
	n.listen()
	n.connect(40000)
	held := func() int {
		h, err := f.Held()
		if err != nil {
			t.Fatal(err)
		}
		return len(h.Own)
	}
	n.await("the client is kept", func() bool { return held() == 1 })
	reopen := func() {
		t.Helper()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		f = n.open()
		if err := f.Apply(sticks); err != nil {
			t.Fatal(err)
		}
	}
	reopen()
	exceptions, err := f.Exceptions()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, map[sticky.Client]uint8{other: 3}, exceptions)
	if held() != 1 || n.tracked(f) == 0 {
		t.Errorf("%d clients and %d connections", held(), n.tracked(f))
	}
	for _, name := range []string{wlbsMapClients, wlbsMapExceptions} {
		if err := os.Remove(clusterFile(clusterPath(n.config.Root, "web"), name)); err != nil {
			t.Fatal(err)
		}
	}
	reopen()
	if held() != 0 || n.tracked(f) == 0 {
		t.Errorf("%d clients and %d connections", held(), n.tracked(f))
	}
}
