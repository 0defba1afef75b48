// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"net/netip"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// conversation is one connection of a client with port 80 of a virtual IP.
type conversation struct {
	*rig
	client netip.AddrPort
	vip    netip.Addr
}

func (r *rig) conversation(client netip.AddrPort) *conversation {
	c := &conversation{rig: r, client: client, vip: vip4}
	if client.Addr().Is6() {
		c.vip = vip6
	}
	return c
}

func (c *conversation) packet(flags uint8) packetSpec {
	return packetSpec{src: c.client.Addr(), dst: c.vip, sport: c.client.Port(), dport: 80, flags: flags}
}

// says is a segment of the client; it reports whether the stack gets it.
func (c *conversation) says(flags uint8) bool {
	c.t.Helper()
	return c.in(c.packet(flags).bytes())
}

// hears is a segment of the server.
func (c *conversation) hears(flags uint8) {
	c.t.Helper()
	if c.out(c.packet(flags).reversed().bytes()) == nil {
		c.t.Fatal("a segment of the server was dropped")
	}
}

func (c *conversation) open() *conversation {
	c.t.Helper()
	if !c.says(flagSYN) {
		c.t.Fatal("the SYN was not let in")
	}
	c.hears(flagSYN | flagACK)
	if !c.says(flagACK) {
		c.t.Fatal("the ACK was not let in")
	}
	return c
}

var someClient = netip.AddrPortFrom(client4, 40000)

// lose takes all buckets from the host.
func (r *rig) lose() {
	r.t.Helper()
	r.apply(tableOf(Slot{}))
}

func (r *rig) wantTable(connections, halfOpen int) Connections {
	r.t.Helper()
	c := r.sweep(Now())
	if c.Count != connections || c.HalfOpen != halfOpen {
		r.t.Fatalf("%d connections and %d half-open, want %d and %d", c.Count, c.HalfOpen, connections, halfOpen)
	}
	return c
}

// owner is a rig that owns all buckets and has no connection.
func owner(t *testing.T, hook Hook, change ...func(*Config)) *rig {
	t.Helper()
	r := newRig(t, hook, change...)
	r.reset(tableOf(Slot{Own: bucket.All}))
	return r
}

func TestConnectionStaysWhenItsBucketMoves(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		for _, client := range []netip.AddrPort{someClient, netip.AddrPortFrom(client6, 40000)} {
			r := owner(t, hook)
			here := r.conversation(client).open()
			r.wantTable(1, 0)

			r.lose()
			if !here.says(flagACK) {
				t.Error("a segment of a tracked connection was rejected right after the commit")
			}
			r.sweep(Now() + settled) // now it knows in which buckets it holds connections
			if !here.says(flagACK) {
				t.Error("a segment of a tracked connection was rejected")
			}
			if !here.says(flagSYN) {
				t.Error("a SYN of a tracked connection was rejected")
			}
			other := r.conversation(netip.AddrPortFrom(client.Addr(), client.Port()+1))
			if other.says(flagSYN) || other.says(flagACK) {
				t.Error("another connection was let in")
			}
		}
	})
}

func TestHalfOpenStaysWhenItsBucketMoves(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook)
		here := r.conversation(someClient)
		if !here.says(flagSYN) {
			t.Fatal("the SYN was not let in")
		}
		r.wantTable(0, 1)
		r.lose()
		r.sweep(Now() + settled)
		if !here.says(flagACK) {
			t.Fatal("the handshake's last segment was rejected")
		}
		r.wantTable(1, 0)
	})
}

// A bucket that just came from a live peer: new connections are ours, those in mid-stream
// the peer's. At rest, all are ours.
func TestBusyBucket(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := newRig(t, hook)
		r.reset(tableOf(Slot{Own: bucket.All, Busy: bucket.All}))
		peers := r.conversation(netip.AddrPortFrom(client4, 50000))
		if peers.says(flagACK) {
			t.Error("a segment of a peer's connection was let in")
		}
		r.conversation(someClient).open()
		if err := r.SetBusy(bucket.Table{}); err != nil {
			t.Fatal(err)
		}
		if !peers.says(flagACK) {
			t.Error("at rest, a segment of an unknown connection was rejected")
		}
		if err := r.SetBusy(allBuckets()); err != nil {
			t.Fatal(err)
		}
		if peers.says(flagACK) {
			t.Error("a segment of a peer's connection was let in, since one was before")
		}
	})
}

func TestHandshakeCounters(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook)
		c := r.conversation(someClient)
		c.says(flagSYN)
		c.says(flagSYN)
		c.hears(flagSYN | flagACK)
		c.says(flagACK)
		c.says(flagACK)
		c.hears(flagACK)
		refused := r.conversation(netip.AddrPortFrom(client4, 50000))
		refused.says(flagSYN)
		refused.hears(flagRST | flagACK)
		r.wantTable(1, 0)
		got := r.counters()
		want := Counters{
			Admitted: 5, Delivered: 5, Answered: 3,
			SYNDelivered: 3, SYNRepeated: 1, SYNACK: 1, RST: 1, HandshakesCompleted: 1,
			Queues: []QueueCounters{{5, 5}},
			Slots:  [bucket.Slots]SlotCounters{{Accepted: 5, Opened: 3}},
		}
		compare(t, want, got)
	})
}

// KB328626: over after a FIN of each side, not before. The last acknowledgement still has
// to arrive, a new connection of the same ports must not be held.
func TestFINLifeCycle(t *testing.T) {
	const fin = flagFIN | flagACK
	forHooks(t, func(t *testing.T, hook Hook) {
		for name, finish := range map[string]func(c *conversation){
			"client first": func(c *conversation) { c.says(fin); c.hears(fin) },
			"server first": func(c *conversation) { c.hears(fin); c.says(fin) },
		} {
			t.Run(name, func(t *testing.T) {
				r := owner(t, hook)
				c := r.conversation(someClient).open()
				finish(c)
				if idle := r.wantTable(1, 0).Idle; idle != allBuckets() {
					t.Error("a closing connection keeps its bucket from being idle")
				}
				r.lose()
				r.sweep(Now() + settled)
				if !c.says(flagACK) {
					t.Error("the last acknowledgement was rejected")
				}
				if c.says(flagSYN) {
					t.Error("a connection that is over holds a new one")
				}
				if left := r.sweep(Now() + 11*time.Second); left.Count != 0 || left.Expired != 1 {
					t.Errorf("after 11 s: %+v", left)
				}
			})
		}
		t.Run("one side", func(t *testing.T) {
			r := owner(t, hook)
			c := r.conversation(someClient).open()
			c.says(fin)
			c.says(fin)
			if left := r.sweep(Now() + 50*time.Second); left.Count != 1 || left.Idle == allBuckets() {
				t.Errorf("after 50 s half-closed: %+v", left)
			}
			if left := r.sweep(Now() + 61*time.Second); left.Count != 0 {
				t.Errorf("after 61 s half-closed: %+v", left)
			}
		})
	})
}

func TestRSTEndsConnection(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		for name, reset := range map[string]func(c *conversation){
			"client's": func(c *conversation) { c.says(flagRST) },
			"server's": func(c *conversation) { c.hears(flagRST) },
		} {
			t.Run(name, func(t *testing.T) {
				r := owner(t, hook)
				c := r.conversation(someClient).open()
				reset(c)
				if idle := r.wantTable(1, 0).Idle; idle != allBuckets() {
					t.Error("the bucket is not idle")
				}
				half := r.conversation(netip.AddrPortFrom(client4, 50000))
				half.says(flagSYN)
				reset(half)
				r.wantTable(1, 0)
			})
		}
	})
}

// RFC 5961: a server does not believe every RST, and says so by going on.
func TestForgedRST(t *testing.T) {
	r := owner(t, XDP)
	c := r.conversation(someClient).open()
	c.says(flagRST)
	r.age(-time.Minute) // however slow this test is
	c.hears(flagACK)    // was under way
	if idle := r.wantTable(1, 0).Idle; idle != allBuckets() {
		t.Fatal("a segment that crossed the RST revived the connection")
	}
	r.age(time.Minute + 2*time.Second)
	c.hears(flagACK)
	if idle := r.wantTable(1, 0).Idle; idle == allBuckets() {
		t.Error("the server goes on, but the connection counts as over")
	}
}

func TestPortsReusedAfterClose(t *testing.T) {
	r := owner(t, TCX)
	c := r.conversation(someClient).open()
	c.says(flagFIN | flagACK)
	c.hears(flagFIN | flagACK)
	c.open()
	if idle := r.wantTable(1, 0).Idle; idle == allBuckets() {
		t.Error("the second connection counts as closing")
	}
	if got := r.counters().HandshakesCompleted; got != 2 {
		t.Errorf("%d handshakes, want 2", got)
	}
}

// Segments in mid-stream could come from anywhere: only the server's answer makes a
// connection of them, so that forged ones cannot fill the table.
func TestMidstream(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook)
		c := r.conversation(someClient)
		c.says(flagACK)
		c.says(flagACK)
		r.wantTable(0, 1)
		c.hears(flagACK)
		r.wantTable(1, 0)
		if got := r.counters().HandshakesCompleted; got != 0 {
			t.Errorf("%d handshakes counted", got)
		}
		forged := r.conversation(netip.AddrPortFrom(client4, 50000))
		forged.says(flagACK)
		r.wantTable(1, 1)
		r.ageHalfOpen(time.Second)
		forged.hears(flagRST)
		r.wantTable(1, 0)
	})
}

// A server that does not know a connection may be the wrong one: the right one's host has just met this one, or handed
// the bucket over. Its first RSTs are kept back; a client that is told again and again has lost its server.
func TestFirstRSTInMidstreamIsHeld(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook)
		lost := r.conversation(someClient)
		rst := lost.packet(flagRST).reversed().bytes()
		for range 2 {
			lost.says(flagACK)
			if r.out(rst) != nil {
				t.Error("the server's first RST left")
			}
		}
		r.ageHalfOpen(400 * time.Millisecond)
		lost.says(flagACK)
		if r.out(rst) != nil {
			t.Error("the server's RST left after 400 ms")
		}
		r.ageHalfOpen(200 * time.Millisecond)
		lost.says(flagACK)
		lost.hears(flagRST)
		r.wantTable(0, 0)

		refused := r.conversation(netip.AddrPortFrom(client4, 50000))
		refused.says(flagSYN)
		refused.hears(flagRST | flagACK)
		ended := r.conversation(netip.AddrPortFrom(client4, 50001)).open()
		ended.hears(flagRST)
		if c := r.counters(); c.RSTHeld != 3 || c.RST != 6 {
			t.Errorf("%d of %d RSTs held, want 3 of 6", c.RSTHeld, c.RST)
		}
	})
}

// As in NLB: when the table is full, new connections are served untracked, and counted.
func TestFullTable(t *testing.T) {
	const size = 16
	forHooks(t, func(t *testing.T, hook Hook) {
		r := owner(t, hook, func(c *Config) { c.MaxConnections = size })
		for i := range size {
			r.conversation(netip.AddrPortFrom(client4, uint16(20000+i))).open()
		}
		before := r.counters()
		if before.Untracked != 0 {
			t.Fatalf("%d untracked before the table is full", before.Untracked)
		}
		extra := r.conversation(someClient).open()
		if !extra.says(flagACK) {
			t.Error("an untracked connection's segment was rejected")
		}
		after := r.counters()
		if after.Untracked != 1 { // connections, not segments
			t.Errorf("%d untracked, want 1: a connection counts once", after.Untracked)
		}
		if got := after.HandshakesCompleted; got != size+1 {
			t.Errorf("%d handshakes completed, want %d", got, size+1)
		}
		first := r.conversation(netip.AddrPortFrom(client4, 20000))
		r.lose()
		r.sweep(Now() + settled)
		if !first.says(flagACK) {
			t.Error("the full table lost an older connection")
		}
	})
}

// KB829701: a flood of SYNs, and of forged segments, pushes out no live connection.
func TestFlood(t *testing.T) {
	r := owner(t, TCX)
	live := r.conversation(someClient).open()
	const flood = 3 * 32768
	frame := packetSpec{src: client4, dst: vip4, dport: 80, flags: flagSYN}.bytes()
	for i := range flood {
		frame[28], frame[29] = byte(i>>16), byte(i>>8) // source 10.0.x.y ...
		frame[34], frame[35] = byte(i>>4), byte(i)     // ... and port
		if i%2 == 1 {
			frame[14+20+13] = flagACK
		} else {
			frame[14+20+13] = flagSYN
		}
		if _, err := r.objects.WlbsIngress.Run(runOptions(frame)); err != nil {
			t.Fatal(err)
		}
	}
	c := r.sweep(Now())
	if c.Count != 1 || c.HalfOpen == 0 || c.HalfOpen > 32768 {
		t.Errorf("%d connections, %d half-open", c.Count, c.HalfOpen)
	}
	r.lose()
	r.sweep(Now() + settled)
	if !live.says(flagACK) {
		t.Error("the flood pushed out a live connection")
	}
}

func TestIdleNamesBuckets(t *testing.T) {
	r := newRig(t, XDP)
	table := tableOf(Slot{Affinity: AffinitySingle, Own: bucket.All})
	r.reset(table)
	if idle := r.wantTable(0, 0).Idle; idle != allBuckets() {
		t.Errorf("idle at start: %v", idle)
	}
	r.conversation(someClient).open()
	want := allBuckets()
	want[0] = notMine(someClient, AffinitySingle)
	if idle := r.wantTable(1, 0).Idle; idle != want {
		t.Errorf("idle %v, want %v", idle, want)
	}
	// The same connection under other rules has another slot and another bucket.
	table.Rules[0].Slot = 5
	table.Slots[5] = Slot{Affinity: AffinityNone, Own: bucket.All}
	r.apply(table)
	want = allBuckets()
	want[5] = notMine(someClient, AffinityNone)
	if idle := r.wantTable(1, 0).Idle; idle != want {
		t.Errorf("under other rules: idle %v, want %v", idle, want)
	}
}

// A change of rules moves a connection to another bucket, perhaps a foreign one: it stays.
func TestConnectionStaysWhenRulesChange(t *testing.T) {
	r := owner(t, XDP)
	c := r.conversation(someClient).open()
	table := tableOf(Slot{Affinity: AffinitySingle})
	table.Rules[0].Slot = 5
	r.apply(table)
	if !c.says(flagACK) {
		t.Error("rejected at once after the change")
	}
	r.sweep(Now() + settled)
	if !c.says(flagACK) {
		t.Error("rejected after the sweep")
	}
}

func TestTimeouts(t *testing.T) {
	r := owner(t, XDP)
	r.conversation(someClient).open()
	r.conversation(netip.AddrPortFrom(client4, 50000)).says(flagSYN)
	for _, step := range []struct {
		after           time.Duration
		count, halfOpen int
	}{
		{59 * time.Second, 1, 1},
		{61 * time.Second, 1, 0},
		{2*time.Hour + 3*time.Minute, 1, 0},
		{2*time.Hour + 5*time.Minute, 0, 0},
	} {
		if c := r.sweep(Now() + step.after); c.Count != step.count || c.HalfOpen != step.halfOpen {
			t.Errorf("after %s: %d connections and %d half-open, want %d and %d", step.after, c.Count, c.HalfOpen, step.count, step.halfOpen)
		}
	}
}

func TestTrafficRefreshes(t *testing.T) {
	for name, speak := range map[string]func(c *conversation){
		"client": func(c *conversation) { c.says(flagACK) },
		"server": func(c *conversation) { c.hears(flagACK) },
	} {
		t.Run(name, func(t *testing.T) {
			r := owner(t, XDP)
			c := r.conversation(someClient).open()
			r.age(2 * time.Hour)
			speak(c)
			if left := r.sweep(Now() + time.Hour); left.Count != 1 {
				t.Errorf("timed out an hour after the last segment: %+v", left)
			}
		})
	}
}

// age makes every connection look as if it had been silent for d longer.
func (r *rig) age(d time.Duration) {
	r.t.Helper()
	r.rewrite(wlbsMapConnections, func(c *wlbsConn) { c.Seen -= uint64(d) })
}

// ageHalfOpen makes every half-open connection look as if it had begun d earlier.
func (r *rig) ageHalfOpen(d time.Duration) {
	r.t.Helper()
	r.rewrite(wlbsMapHalfOpen, func(c *wlbsConn) { c.SinceMs -= uint32(d.Milliseconds()) })
}

// rewrite changes all entries of a map of connections.
func (r *rig) rewrite(name string, change func(*wlbsConn)) {
	r.t.Helper()
	m := r.maps.byName[name]
	var (
		flow wlbsFlow
		conn wlbsConn
	)
	changed := map[wlbsFlow]wlbsConn{}
	for entries := m.Iterate(); entries.Next(&flow, &conn); {
		change(&conn)
		changed[flow] = conn
	}
	for flow, conn := range changed {
		if err := m.Put(&flow, &conn); err != nil {
			r.t.Fatal(err)
		}
	}
}

// allBuckets has all buckets of all slots.
func allBuckets() bucket.Table {
	var t bucket.Table
	for i := range t {
		t[i] = bucket.All
	}
	return t
}
