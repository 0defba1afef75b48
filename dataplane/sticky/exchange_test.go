// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// world is a few hosts on a network that loses, repeats and reorders.
type world struct {
	now         time.Duration
	hosts       []*host
	wire        []parcel
	incarnation uint64
	// published is what each host's versions stood for.
	published map[Peer][]Client
}

type host struct {
	*Exchange
	id     uint8
	filter map[Client]uint8 // exceptions, as told
	peers  []Peer           // as heard
	away   []Client
}

type parcel struct {
	to        *host
	frame     []byte
	heartbeat *Peer
}

func newWorld(hosts int) *world {
	w := &world{published: map[Peer][]Client{}}
	for id := range hosts {
		w.hosts = append(w.hosts, &host{id: uint8(id + 1)})
		w.start(w.hosts[id])
	}
	return w
}

// start starts a host, or starts it again: with a new incarnation, and without clients.
func (w *world) start(h *host) {
	w.incarnation++
	*h = host{id: h.id, filter: map[Client]uint8{}}
	h.Exchange = New(Settings{HostID: h.id, ClusterKey: 7, Incarnation: w.incarnation, Version: 1000})
}

// restart lets another agent go on in the incarnation of the last one, with what is in the filter.
func (h *host) restart(version uint32) {
	before := h.Exchange
	h.Exchange = New(Settings{HostID: h.id, ClusterKey: 7, Incarnation: before.s.Incarnation, Version: version})
	h.Adopt(maps.Clone(h.filter))
	h.Follow(h.peers)
}

func (h *host) self() Peer { return Peer{h.id, h.s.Incarnation, h.Version()} }

func (w *world) publish(h *host, clients []Client) {
	h.away = slices.Clone(clients)
	slices.SortFunc(h.away, compare)
	h.Publish(slices.Clone(clients))
	w.published[h.self()] = h.away
}

// beat sends a heartbeat of h to all.
func (w *world) beat(h *host) {
	self := h.self()
	w.broadcast(h, parcel{heartbeat: &self})
}

func (w *world) broadcast(from *host, p parcel) {
	for _, h := range w.hosts {
		if h != from {
			p.to = h
			w.wire = append(w.wire, p)
		}
	}
}

func (w *world) flush(h *host) {
	for _, f := range h.Send(w.now) {
		w.broadcast(h, parcel{frame: f})
	}
}

// deliver hands the i-th parcel over.
func (w *world) deliver(i int) {
	p := w.wire[i]
	switch {
	case p.heartbeat != nil:
		p.to.hear(*p.heartbeat)
	default:
		_ = p.to.Receive(p.frame)
	}
	p.to.apply()
}

func (w *world) drop(i int) { w.wire = slices.Delete(w.wire, i, i+1) }

func (h *host) hear(p Peer) {
	i := slices.IndexFunc(h.peers, func(k Peer) bool { return k.HostID == p.HostID })
	switch {
	case i < 0:
		h.peers = append(h.peers, p)
	case p.Incarnation < h.peers[i].Incarnation:
		return // convergence ignores it
	default:
		h.peers[i] = p
	}
	h.Follow(h.peers)
}

func (h *host) apply() {
	add, remove := h.Exceptions()
	for _, c := range remove {
		delete(h.filter, c)
	}
	maps.Copy(h.filter, add)
}

// settle lets everything that is under way arrive, and heartbeats be heard, without loss.
func (w *world) settle(t *rapid.T) {
	for range 400 {
		w.now += 10 * time.Millisecond
		for _, h := range w.hosts {
			w.beat(h)
			w.flush(h)
		}
		for i := range w.wire {
			w.deliver(i)
		}
		w.wire = nil
		if w.synced() {
			return
		}
	}
	t.Fatal("the hosts do not agree after all frames arrived for long")
}

func (w *world) synced() bool {
	for _, h := range w.hosts {
		for _, o := range w.hosts {
			if o != h && !h.Has(o.self()) {
				return false
			}
		}
	}
	return true
}

// check requires that what a host takes for known is what the peer published, and that the filter follows from it.
func (w *world) check(t *rapid.T) {
	for _, h := range w.hosts {
		for _, p := range h.peers {
			if got := h.Exchange.peers[p.HostID].clients; h.Has(p) && !slices.Equal(got, w.published[p]) {
				t.Fatalf("host %d has %d clients of %+v, who published %d", h.id, len(got), p, len(w.published[p]))
			}
		}
		want := map[Client]uint8{}
		for id := len(h.Exchange.peers) - 1; id > 0; id-- {
			for _, c := range h.Exchange.peers[id].clients {
				want[c] = uint8(id)
			}
		}
		if !maps.Equal(h.filter, want) {
			t.Fatalf("host %d excepts %d clients, want %d", h.id, len(h.filter), len(want))
		}
	}
}

func someClient(i int) Client {
	c := Client{Rule: uint32(1 + i%3)}
	binary.BigEndian.PutUint32(c.Addr[12:], uint32(i))
	return c
}

func drawClients(t *rapid.T) []Client {
	n := rapid.SampledFrom([]int{0, 1, 2, 5, chunkSize, chunkSize + 1, 9*chunkSize + 3}).Draw(t, "clients")
	first := rapid.IntRange(0, 40).Draw(t, "first")
	var out []Client
	for i := range n {
		out = append(out, someClient(first+i))
	}
	return out
}

// TestExchangeSurvivesTheNetwork lets hosts publish, restart and talk over a network that loses, repeats and reorders.
// What a host takes for known is true at every step, and once frames arrive all know all.
func TestExchangeSurvivesTheNetwork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 5).Draw(t, "hosts"))
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			h := w.hosts[rapid.IntRange(0, len(w.hosts)-1).Draw(t, "host")]
			w.now += time.Duration(rapid.IntRange(0, 40).Draw(t, "milliseconds")) * time.Millisecond
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				w.publish(h, drawClients(t))
			case 1:
				w.start(h)
			case 2:
				h.restart(rapid.Uint32().Draw(t, "version"))
				w.publish(h, h.away)
			case 3, 4:
				w.beat(h)
			case 5, 6:
				w.flush(h)
			default:
				for range min(len(w.wire), rapid.IntRange(1, 20).Draw(t, "frames")) {
					i := rapid.IntRange(0, len(w.wire)-1).Draw(t, "frame")
					fate := rapid.IntRange(0, 3).Draw(t, "fate")
					if fate > 0 {
						w.deliver(i)
					}
					if fate < 3 {
						w.drop(i) // else it comes again
					}
					if len(w.wire) == 0 {
						break
					}
				}
			}
			for _, h := range w.hosts {
				h.apply()
			}
			w.check(t)
		}
		w.settle(t)
		w.check(t)
		for _, h := range w.hosts {
			for _, o := range w.hosts {
				for _, c := range o.away {
					if _, ok := h.filter[c]; o != h && !ok {
						t.Fatalf("host %d would accept a client of host %d", h.id, o.id)
					}
				}
			}
		}
	})
}

// Whoever is held twice is held once after each host looked at the lists of the others.
func TestOneHostKeepsAClient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 5).Draw(t, "hosts"))
		owner := w.hosts[rapid.IntRange(0, len(w.hosts)-1).Draw(t, "owner of all buckets")]
		held := map[*host][]Client{}
		for _, h := range w.hosts {
			held[h] = drawClients(t)
		}
		for range 2 { // what the first look changes is published by the second
			for _, h := range w.hosts {
				if h != owner {
					w.publish(h, held[h])
				}
			}
			w.settle(t)
			for _, h := range w.hosts {
				all := Held{Away: held[h]}
				if h == owner {
					all = Held{Own: held[h]}
				}
				lost := h.Lost(&all)
				held[h] = slices.DeleteFunc(held[h], func(c Client) bool { return slices.Contains(lost, c) })
			}
		}
		holders := map[Client]uint8{}
		for _, h := range w.hosts {
			for _, c := range held[h] {
				if before, ok := holders[c]; ok {
					t.Fatalf("hosts %d and %d hold the same client", before, h.id)
				}
				holders[c] = h.id
			}
		}
		for _, h := range w.hosts {
			for _, c := range h.away {
				if holders[c] == 0 {
					t.Fatalf("nobody holds a client that host %d held", h.id)
				}
			}
		}
	})
}

// A list reaches a peer without a request where it is short, and with requests where it is long and frames are lost.
func TestLongListIsAskedFor(t *testing.T) {
	w := newWorld(2)
	a, b := w.hosts[0], w.hosts[1]
	clients := make([]Client, 65536)
	for i := range clients {
		clients[i] = someClient(i)
	}
	w.publish(a, clients)
	b.Follow([]Peer{a.self()})
	frames := 0
	for n := 0; !b.Has(a.self()); n++ {
		if n > 100_000 {
			t.Fatal("the list does not arrive")
		}
		w.now = max(w.now+time.Millisecond, min(b.Wake(), w.now+time.Second))
		for _, f := range b.Send(w.now) {
			_ = a.Receive(f)
		}
		for _, f := range a.Send(w.now) {
			if frames++; frames%7 != 0 {
				_ = b.Receive(f)
			}
		}
	}
	b.apply()
	if len(b.filter) != len(clients) {
		t.Errorf("%d exceptions, want %d", len(b.filter), len(clients))
	}
	t.Logf("%d frames for %d clients in %v", frames, len(clients), w.now)
}

// A holder that is no member any more, or starts again, holds nobody.
func TestExceptionsEndWithTheirHolder(t *testing.T) {
	for name, end := range map[string]func(w *world, a, b *host){
		"no member": func(_ *world, _, b *host) { b.Follow(nil) },
		"started again": func(w *world, a, b *host) {
			w.start(a)
			b.Follow([]Peer{a.self()})
		},
		"started again with others": func(w *world, a, b *host) {
			w.start(a)
			w.publish(a, []Client{someClient(2)})
			b.Follow([]Peer{a.self()}) // whom, is not known yet
		},
		"empty list": func(w *world, a, b *host) {
			w.publish(a, nil)
			b.Follow([]Peer{a.self()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(2)
			a, b := w.hosts[0], w.hosts[1]
			w.publish(a, []Client{someClient(1)})
			b.Follow([]Peer{a.self()})
			for _, f := range a.Send(w.now) {
				if err := b.Receive(f); err != nil {
					t.Fatal(err)
				}
			}
			if b.apply(); len(b.filter) != 1 {
				t.Fatalf("%d exceptions, want 1", len(b.filter))
			}
			end(w, a, b)
			if b.apply(); len(b.filter) != 0 {
				t.Errorf("%d exceptions, want none", len(b.filter))
			}
		})
	}
}

func TestForeignFramesAreIgnored(t *testing.T) {
	e := New(Settings{HostID: 1, ClusterKey: 7})
	of := func(sender uint8, clusterKey uint32) []byte {
		o := New(Settings{HostID: sender, ClusterKey: clusterKey})
		o.Publish([]Client{someClient(1)})
		return o.Send(0)[0]
	}
	good := of(2, 7)
	if err := e.Receive(good); err != nil {
		t.Fatal(err)
	}
	for name, frame := range map[string][]byte{
		"own": of(1, 7), "other cluster": of(2, 8), "cut": good[:100], "empty": nil,
		"heartbeat": (&heartbeat.Message{HostID: 2}).AppendTo(nil),
	} {
		if err := e.Receive(frame); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	o := New(Settings{HostID: 2, ClusterKey: 7})
	o.Publish([]Client{someClient(1)})
	f.Add(o.Send(0)[0])
	f.Fuzz(func(_ *testing.T, payload []byte) {
		_ = New(Settings{HostID: 1, ClusterKey: 7}).Receive(payload)
	})
}
