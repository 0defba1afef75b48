// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	step  = 500 * time.Millisecond
	class = "class 1:10 (eth0)"
)

// host is a simulated one: per step it adds to the counters what rate says.
type host struct {
	t    rapid.TB
	d    *Detector
	now  Sample
	rate Sample // added every step; Leaves, Queues and Peers are matched by name
	v    Verdict
	// changes counts how often the verdict changed.
	changes int
}

func newHost(t rapid.TB) *host {
	return &host{t: t, d: NewDetector(Settings{Window: DefaultWindow, MinPackets: DefaultMinPackets})}
}

func (h *host) run(d time.Duration) Verdict {
	for end := h.now.At + d; h.now.At < end; {
		h.now.At += step
		h.now.Admitted += h.rate.Admitted
		h.now.Delivered += h.rate.Delivered
		h.now.Answered += h.rate.Answered
		h.now.SYNs += h.rate.SYNs
		h.now.RepeatedSYNs += h.rate.RepeatedSYNs
		h.now.SYNACKs += h.rate.SYNACKs
		h.now.RSTs += h.rate.RSTs
		h.now.Completed += h.rate.Completed
		h.now.AddressAsked += h.rate.AddressAsked
		h.now.AddressAnswered += h.rate.AddressAnswered
		h.now.HeartbeatsUnheard = h.rate.HeartbeatsUnheard
		s := h.now
		s.Leaves, s.Queues, s.Peers = nil, nil, nil
		for i, l := range h.rate.Leaves {
			h.now.Leaves[i].Sent += l.Sent
			h.now.Leaves[i].Packets += l.Packets
			h.now.Leaves[i].Dropped += l.Dropped
			h.now.Leaves[i].Bytes = 74 * h.now.Leaves[i].Packets
		}
		for i, q := range h.rate.Queues {
			h.now.Queues[i].Admitted += q.Admitted
			h.now.Queues[i].Delivered += q.Delivered
		}
		for i, p := range h.rate.Peers {
			h.now.Peers[i].SYNs += p.SYNs
			h.now.Peers[i].Completed += p.Completed
		}
		s.Leaves = append(s.Leaves, h.now.Leaves...)
		s.Queues = append(s.Queues, h.now.Queues...)
		s.Peers = append(s.Peers, h.now.Peers...)
		var changed bool
		if h.v, changed = h.d.Observe(s); changed {
			h.changes++
		}
	}
	return h.v
}

func (h *host) leaf(name string) *Leaf {
	h.now.Leaves = append(h.now.Leaves, Leaf{Name: name})
	h.rate.Leaves = append(h.rate.Leaves, Leaf{Name: name})
	return &h.now.Leaves[len(h.now.Leaves)-1]
}

// serve is healthy traffic: n clients a step connect, ask and are answered.
func (h *host) serve(n uint64) {
	h.rate.Admitted, h.rate.Delivered, h.rate.Answered = 5*n, 5*n, 4*n
	h.rate.SYNs, h.rate.SYNACKs, h.rate.Completed = n, n, n
	h.rate.RepeatedSYNs, h.rate.RSTs = 0, 0
}

func (h *host) expect(reason v1alpha1.StallReason, queue string) {
	h.t.Helper()
	if h.v.Reason != reason || h.v.Queue != queue {
		h.t.Errorf("at %v: verdict %q on %q (%s), want %q on %q", h.now.At, h.v.Reason, h.v.Queue, h.v.Message, reason, queue)
	}
}

// The recipe of KB Q228942: class 1:10 with the virtual IP's traffic stands, class 1:20 flows.
func stuckClass(t rapid.TB, retransmissions uint64) *host {
	h := newHost(t)
	*h.leaf(class) = Leaf{Name: class, Sent: 1}
	h.leaf("class 1:20 (eth0)")
	h.rate.Leaves[0].Packets = retransmissions
	h.rate.Leaves[1].Sent = 5
	h.rate.Admitted, h.rate.Delivered, h.rate.Answered = retransmissions, retransmissions, retransmissions
	h.rate.SYNs, h.rate.RepeatedSYNs, h.rate.SYNACKs = retransmissions, retransmissions, retransmissions
	return h
}

func TestQ228942ConvergedButSilent(t *testing.T) {
	h := stuckClass(t, 1)
	h.run(DefaultWindow + step)
	h.expect(v1alpha1.StallEgressQueue, class)
	for _, number := range []string{"11 packets", "5s", class} {
		if !strings.Contains(h.v.Message, number) {
			t.Errorf("message %q lacks %q", h.v.Message, number)
		}
	}

	// The clients give up: the queue still stands.
	h.rate.Admitted, h.rate.Delivered, h.rate.Answered, h.rate.SYNs, h.rate.RepeatedSYNs, h.rate.SYNACKs = 0, 0, 0, 0, 0, 0
	h.rate.Leaves[0].Packets = 0
	h.run(10 * time.Minute)
	h.expect(v1alpha1.StallEgressQueue, class)

	// The class is removed.
	h.now.Leaves, h.rate.Leaves = h.now.Leaves[1:], h.rate.Leaves[1:]
	h.serve(3)
	h.run(DefaultWindow - step)
	h.expect(v1alpha1.StallEgressQueue, class)
	h.run(2 * step)
	h.expect("", "")
	if h.changes != 2 {
		t.Errorf("verdict changed %d times, want 2", h.changes)
	}
}

func TestEgress(t *testing.T) {
	for name, tc := range map[string]struct {
		set  func(h *host)
		want v1alpha1.StallReason
	}{
		"healthy": {func(h *host) { h.serve(10); h.rate.Leaves[0] = Leaf{Sent: 40} }, ""},
		"one client alone": {func(h *host) { h.rate = stuckClass(h.t, 0).rate; oneClient(h) },
			v1alpha1.StallEgressQueue},
		"full: all are dropped": {func(h *host) { h.rate = stuckClass(h.t, 1).rate; h.rate.Leaves[0] = Leaf{Dropped: 1} },
			v1alpha1.StallEgressQueue},
		"paced, one packet a second (Q248279)": {func(h *host) {
			h.rate = stuckClass(h.t, 3).rate
			h.rate.Leaves[0] = Leaf{Sent: 1, Packets: 2}
		}, ""},
		"idle above a queue of others that stands": {func(h *host) { h.rate.Leaves[0] = Leaf{Packets: 5} }, ""},
		"a queue of others stands, clients are served": {func(h *host) {
			h.serve(10)
			h.rate.Leaves[0], h.rate.Leaves[1] = Leaf{Packets: 50}, Leaf{Sent: 45}
		}, ""},
		"a queue of others stands, one old connection runs": {func(h *host) {
			h.rate.Admitted, h.rate.Delivered, h.rate.Answered = 100, 100, 100
			h.rate.Leaves[0], h.rate.Leaves[1] = Leaf{Packets: 3}, Leaf{Sent: 105}
		}, ""},
		"a queue of others stands, and the network loses one SYN in fifty": {func(h *host) {
			h.serve(50)
			h.rate.RepeatedSYNs = 1
			h.rate.Leaves[0], h.rate.Leaves[1] = Leaf{Packets: 20}, Leaf{Sent: 205}
		}, ""},
		"a queue of others stands, and the network is bad": {func(h *host) {
			h.serve(50)
			h.rate.RepeatedSYNs = 20
			h.rate.Leaves[0], h.rate.Leaves[1] = Leaf{Packets: 2}, Leaf{Sent: 205}
		}, ""},
		"one transmit queue of four stands": {func(h *host) {
			h.serve(30)
			h.rate.SYNs, h.rate.RepeatedSYNs, h.rate.SYNACKs, h.rate.Answered = 55, 25, 55, 145
			h.rate.Leaves[0], h.rate.Leaves[1] = Leaf{Packets: 35}, Leaf{Sent: 120}
		}, v1alpha1.StallEgressQueue},
		"one old connection is stuck": {func(h *host) {
			h.rate.Admitted, h.rate.Delivered, h.rate.Answered = 1, 1, 1
			h.rate.Leaves[0] = Leaf{Packets: 1}
		}, v1alpha1.StallEgressQueue},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			*h.leaf(class) = Leaf{Name: class, Packets: 2}
			h.leaf("class 1:20 (eth0)")
			h.rate.Leaves[1].Sent = 5
			tc.set(h)
			if len(h.now.Leaves) != len(h.rate.Leaves) {
				t.Fatal("test names other leaves")
			}
			h.run(4 * DefaultWindow)
			queue := ""
			if tc.want != "" {
				queue = class
			}
			h.expect(tc.want, queue)
		})
	}
}

// oneClient connects once and repeats its SYN after 1 s and 3 s; each is answered into the stuck class.
func oneClient(h *host) {
	for s := range 10 {
		n := uint64(0)
		if s == 1 || s == 3 || s == 7 {
			n = 1
		}
		h.rate.Answered, h.rate.SYNs, h.rate.SYNACKs, h.rate.Leaves[0].Packets = n, n, n, n
		h.run(step)
	}
	h.rate.Answered, h.rate.SYNs, h.rate.SYNACKs, h.rate.Leaves[0].Packets = 0, 0, 0, 0
}

// A class of 8 bit/s sends a packet every 74 seconds: that is no recovery.
func TestTrickleDoesNotClear(t *testing.T) {
	h := stuckClass(t, 1)
	h.run(2 * DefaultWindow)
	for range 5 {
		h.now.Leaves[0].Sent++
		h.now.Leaves[0].Packets--
		h.run(74 * time.Second)
		h.expect(v1alpha1.StallEgressQueue, class)
	}
	if h.changes != 1 {
		t.Errorf("verdict changed %d times, want 1", h.changes)
	}
}

func TestStages(t *testing.T) {
	for name, tc := range map[string]struct {
		set   func(h *host)
		want  v1alpha1.StallReason
		queue string
	}{
		"service is silent": {func(h *host) { h.rate = Sample{Admitted: 2, Delivered: 2, SYNs: 2} },
			v1alpha1.StallServiceNotAnswering, ""},
		"service refuses": {func(h *host) { h.rate = Sample{Admitted: 2, Delivered: 2, Answered: 2, SYNs: 2, RSTs: 2} },
			"", ""},
		"service is slow": {func(h *host) { h.rate = Sample{Admitted: 9, Delivered: 9, SYNs: 9, SYNACKs: 1, Answered: 1} },
			"", ""},
		"too few requests to judge the service": {func(h *host) {
			h.now.SYNs = 15
			h.rate = Sample{}
		}, "", ""},
		"nothing is delivered": {func(h *host) { h.rate = Sample{Admitted: 2} }, v1alpha1.StallIngressQueue, ""},
		"one receive queue of two delivers nothing": {func(h *host) {
			h.rate = Sample{Admitted: 12, Delivered: 8, Answered: 8, Queues: []Queue{{0, 8, 8}, {1, 4, 0}}}
			h.now.Queues = []Queue{{Index: 0}, {Index: 1}}
		}, v1alpha1.StallIngressQueue, "receive queue 1"},
		"the driver records no receive queue": {func(h *host) {
			h.rate = Sample{Admitted: 12, Delivered: 12, Answered: 8, Queues: []Queue{{0, 8, 12}, {1, 4, 0}}}
			h.now.Queues = []Queue{{Index: 0}, {Index: 1}}
		}, "", ""},
		"no ARP request is answered (Q244091)": {func(h *host) { h.rate = Sample{AddressAsked: 1} },
			v1alpha1.StallAddressResolution, ""},
		"ARP requests are answered": {func(h *host) { h.rate = Sample{AddressAsked: 9, AddressAnswered: 1} },
			"", ""},
		"peers do not hear this host": {func(h *host) { h.rate = Sample{HeartbeatsUnheard: true} },
			v1alpha1.StallHeartbeatsUnheard, ""},
		"replies are lost": {func(h *host) {
			h.rate = Sample{Admitted: 4, Delivered: 4, Answered: 4, SYNs: 4, RepeatedSYNs: 2, SYNACKs: 4,
				Peers: []Peer{{2, 9, 9}}}
			h.now.Peers = []Peer{{ID: 2}}
		}, v1alpha1.StallRepliesLost, ""},
		"SYN flood (KB829701)": {func(h *host) {
			h.rate = Sample{Admitted: 9000, Delivered: 9000, Answered: 9000, SYNs: 9000, SYNACKs: 9000,
				Peers: []Peer{{2, 9000, 0}}}
			h.now.Peers = []Peer{{ID: 2}}
		}, "", ""},
		"SYN flood, in which peers have a few clients": {func(h *host) {
			h.rate = Sample{Admitted: 9000, Delivered: 9000, Answered: 9000, SYNs: 9000, SYNACKs: 9000,
				Peers: []Peer{{2, 9000, 17}}}
			h.now.Peers = []Peer{{ID: 2}}
		}, "", ""},
		"replies are lost, but no peer has clients to compare with": {func(h *host) {
			h.rate = Sample{Admitted: 4, Delivered: 4, Answered: 4, SYNs: 4, SYNACKs: 4, Peers: []Peer{{2, 0, 0}}}
			h.now.Peers = []Peer{{ID: 2}}
		}, "", ""},
		"idle": {func(h *host) { h.rate = Sample{} }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			tc.set(h)
			h.run(4 * DefaultWindow)
			h.expect(tc.want, tc.queue)
		})
	}
}

func TestServiceRecovers(t *testing.T) {
	silent := Sample{Admitted: 4, Delivered: 4, SYNs: 4}
	h := newHost(t)
	h.rate = silent
	h.run(3 * DefaultWindow)
	h.expect(v1alpha1.StallServiceNotAnswering, "")

	h.now.SYNACKs++ // one answer slips through
	h.run(2 * DefaultWindow)
	h.expect(v1alpha1.StallServiceNotAnswering, "")

	h.serve(4)
	h.run(DefaultWindow + step)
	h.expect("", "")
	if h.changes != 2 {
		t.Errorf("verdict changed %d times, want 2", h.changes)
	}
}

func TestVerdictOfIdleHostIsDropped(t *testing.T) {
	h := newHost(t)
	h.rate = Sample{Admitted: 4, Delivered: 4, SYNs: 4}
	h.run(2 * DefaultWindow)
	h.rate = Sample{}
	h.run((idleWindows - 1) * DefaultWindow)
	h.expect(v1alpha1.StallServiceNotAnswering, "")
	h.run(2 * DefaultWindow)
	h.expect("", "")
}

func TestReloadedFilterIsNoStall(t *testing.T) {
	h := newHost(t)
	h.serve(10)
	h.run(2 * DefaultWindow)
	h.now = Sample{At: h.now.At}
	h.run(2 * DefaultWindow)
	h.expect("", "")
	if h.changes != 0 {
		t.Errorf("verdict changed %d times", h.changes)
	}
}

func TestNoVerdictBeforeAWholeWindow(t *testing.T) {
	h := stuckClass(t, 4)
	h.run(DefaultWindow)
	h.expect("", "")
	h.run(step)
	h.expect(v1alpha1.StallEgressQueue, class)
	if want := DefaultWindow + step; h.v.Since != want {
		t.Errorf("since %v, want %v", h.v.Since, want)
	}
}

// Two looks at a busy queue prove nothing, however far apart.
func TestTooFewSamples(t *testing.T) {
	d := NewDetector(Settings{})
	for i := range uint64(2) {
		v, _ := d.Observe(Sample{
			At: time.Duration(i) * DefaultWindow, Answered: 10 * i, SYNACKs: 10 * i,
			Leaves: []Leaf{{Name: class, Sent: 7, Packets: 3 + 10*i}},
		})
		if v.Stalled() {
			t.Errorf("verdict %+v", v)
		}
	}
}

// Whatever the load and however slow: while every stage makes progress and clients are served, no verdict falls.
func TestProgressIsNeverAStall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(t)
		*h.leaf(class) = Leaf{Name: class}
		clients := rapid.Uint64Range(0, 50)
		backlog := rapid.Uint64Range(0, 1000)
		for range 120 {
			h.serve(clients.Draw(t, "clients"))
			h.rate.Leaves[0] = Leaf{Name: class, Sent: h.rate.Answered}
			h.now.Leaves[0].Packets = backlog.Draw(t, "backlog")
			if h.rate.Answered == 0 {
				h.now.Leaves[0].Packets = 0 // nothing sent and a backlog is what a stall looks like
			}
			h.run(step)
			h.expect("", "")
		}
	})
}

// The detector must survive any counters, and idle hosts never stall whatever came before.
func TestAnyCountersThenIdle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHost(t)
		h.now.Queues, h.rate.Queues = []Queue{{Index: 0}, {Index: 1}}, []Queue{{Index: 0}, {Index: 1}}
		n := rapid.Uint64Range(0, 40)
		for range 60 {
			h.rate.Admitted, h.rate.Delivered, h.rate.Answered = n.Draw(t, "a"), n.Draw(t, "d"), n.Draw(t, "x")
			h.rate.SYNs, h.rate.SYNACKs, h.rate.Completed = n.Draw(t, "s"), n.Draw(t, "k"), n.Draw(t, "c")
			h.rate.Queues[1] = Queue{Index: 1, Admitted: n.Draw(t, "qa"), Delivered: n.Draw(t, "qd")}
			if rapid.IntRange(0, 20).Draw(t, "reset") == 0 {
				h.now.SYNs, h.now.Queues = 0, []Queue{{Index: 0}, {Index: 1}}
			}
			h.run(step)
		}
		h.rate = Sample{Queues: []Queue{{Index: 0}, {Index: 1}}}
		h.run((idleWindows + 2) * DefaultWindow)
		h.expect("", "")
	})
}
