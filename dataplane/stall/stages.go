// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"fmt"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// window is the samples of one window, oldest first, the counters of which never go back.
type window struct {
	samples []Sample
	min     uint64
}

func (w window) first() *Sample { return &w.samples[0] }
func (w window) last() *Sample  { return &w.samples[len(w.samples)-1] }
func (w window) covered() bool  { return len(w.samples) > 1 }

// grew returns by how much a counter grew over the window.
func (w window) grew(of func(*Sample) uint64) uint64 { return of(w.last()) - of(w.first()) }

// finding is evidence of a stall.
type finding struct{ queue, message string }

// stage is one kind of stall.
type stage struct {
	reason v1alpha1.StallReason
	// find returns the evidence of a stall over the window, or nil.
	find func(window) *finding
	// holds reports whether a stall found before, on that queue, lasts over the window.
	holds func(w window, queue string) bool
	// moves reports whether the stage made progress in the window.
	moves func(w window, queue string) bool
}

// stages in the order in which they are looked for: first those that name the place most exactly.
var stages = []stage{
	egress,
	ingress,
	counterStage(v1alpha1.StallServiceNotAnswering, serviceNotAnswering,
		func(s *Sample) uint64 { return s.SYNACKs + s.RSTs }),
	counterStage(v1alpha1.StallRepliesLost, repliesLost, func(s *Sample) uint64 { return s.Completed }),
	counterStage(v1alpha1.StallAddressResolution, addressResolution, func(s *Sample) uint64 { return s.AddressAnswered }),
	heartbeats,
}

func stageOf(reason v1alpha1.StallReason) stage {
	for _, s := range stages {
		if s.reason == reason {
			return s
		}
	}
	return stage{
		holds: func(window, string) bool { return false },
		moves: func(window, string) bool { return true },
	}
}

// counterStage is a stage without queues: it lasts while it is found, and moves when its counter does.
func counterStage(reason v1alpha1.StallReason, find func(window) *finding, progress func(*Sample) uint64) stage {
	return stage{
		reason: reason,
		find:   find,
		holds:  func(w window, _ string) bool { return w.covered() && find(w) != nil },
		moves:  func(w window, _ string) bool { return w.covered() && w.grew(progress) > 0 },
	}
}

// serviceNotAnswering: connection requests reach the node, and neither a process nor the kernel answers.
func serviceNotAnswering(w window) *finding {
	syns := w.grew(func(s *Sample) uint64 { return s.SYNs })
	answers := w.grew(func(s *Sample) uint64 { return s.SYNACKs + s.RSTs })
	if syns < w.min || answers > 0 {
		return nil
	}
	return &finding{message: fmt.Sprintf("%d connection requests were delivered in %v and none was answered", syns,
		w.span())}
}

// minAddressRequests is how many unanswered ARP or neighbour requests count as evidence. A client asks three
// times before it gives up (RFC 4861 MAX_MULTICAST_SOLICIT; Linux mcast_solicit for ARP).
const minAddressRequests = 3

// addressResolution: Microsoft KB Q244091, clients cannot find the cluster MAC while everything else works.
func addressResolution(w window) *finding {
	asked := w.grew(func(s *Sample) uint64 { return s.AddressAsked })
	answered := w.grew(func(s *Sample) uint64 { return s.AddressAnswered })
	if asked < minAddressRequests || answered > 0 {
		return nil
	}
	return &finding{message: fmt.Sprintf("%d requests for the MAC of a virtual IP were seen in %v and none was answered",
		asked, w.span())}
}

// minExpected is how many completed handshakes must be missing. If handshakes complete independently of each
// other at the peers' rate, none out of so many expected has probability e^-8, one in three thousand.
const minExpected = 8

// minCompletion is the share of the peers' clients, 1/minCompletion, whose handshakes must complete. In a SYN flood
// (Microsoft KB829701) fewer do, and then completed handshakes at the peers prove nothing: they may all have come
// before the flood began.
const minCompletion = 10

// repliesLost: this host answers connection requests and no client completes its handshake, while clients of the peers
// do. In a SYN flood nothing completes on any host, so nothing is missing here. While a transmit queue holds packets,
// replies may be late rather than lost: slow is no stall (Microsoft KB Q248279).
func repliesLost(w window) *finding {
	if slices.ContainsFunc(w.last().Leaves, func(l Leaf) bool { return !l.empty() }) {
		return nil
	}
	syns := w.grew(func(s *Sample) uint64 { return s.SYNs })
	repeated := w.grew(func(s *Sample) uint64 { return s.RepeatedSYNs })
	here := syns - min(syns, repeated)
	replies := w.grew(func(s *Sample) uint64 { return s.SYNACKs })
	if here < w.min || replies < w.min || w.grew(func(s *Sample) uint64 { return s.Completed }) > 0 {
		return nil
	}
	asked, completed := w.peers()
	if asked == 0 || completed*here < minExpected*asked || completed*minCompletion < asked {
		return nil
	}
	return &finding{message: fmt.Sprintf("%d clients were answered in %v and none completed its handshake; "+
		"of the other hosts' %d clients %d did", here, w.span(), asked, completed)}
}

// peers adds up the peers' handshakes over the window. A peer whose counters went back or that is new counts nothing.
func (w window) peers() (asked, completed uint64) {
	for _, now := range w.last().Peers {
		for _, was := range w.first().Peers {
			if was.ID != now.ID || now.SYNs < was.SYNs || now.Completed < was.Completed {
				continue
			}
			asked += now.SYNs - was.SYNs
			completed += now.Completed - was.Completed
		}
	}
	return asked, completed
}

// heartbeats: what this host sends does not reach the peers, while theirs reaches it.
var heartbeats = stage{
	reason: v1alpha1.StallHeartbeatsUnheard,
	find: func(w window) *finding {
		if !w.unheard() {
			return nil
		}
		return &finding{message: fmt.Sprintf("for %v other hosts have been heard that do not hear this one", w.span())}
	},
	holds: func(w window, _ string) bool { return w.covered() && w.last().HeartbeatsUnheard },
	moves: func(w window, _ string) bool { return w.covered() && !w.last().HeartbeatsUnheard },
}

func (w window) unheard() bool {
	for i := range w.samples {
		if !w.samples[i].HeartbeatsUnheard {
			return false
		}
	}
	return true
}

// span is the window's length, for messages.
func (w window) span() string {
	return fmt.Sprintf("%.3gs", (w.last().At - w.first().At).Seconds())
}
