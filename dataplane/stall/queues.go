// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// ingress: packets that the filter accepted on a receive queue do not reach the network stack.
var ingress = stage{
	reason: v1alpha1.StallIngressQueue,
	find: func(w window) *finding {
		if all, ok := w.queueDelta(anyQueue); ok && all.Admitted >= w.min && all.Delivered == 0 {
			return ingressFinding(w, "", all)
		}
		for _, q := range w.last().Queues {
			if d, ok := w.queueDelta(q.Index); ok && w.missing(d) {
				return ingressFinding(w, queueName(q.Index), d)
			}
		}
		return nil
	},
	holds: func(w window, queue string) bool {
		if !w.covered() {
			return false
		}
		d, ok := w.queueDelta(queueIndex(w, queue))
		return ok && (queue == "" && d.Admitted >= w.min && d.Delivered == 0 || queue != "" && w.missing(d))
	},
	moves: func(w window, queue string) bool {
		if !w.covered() {
			return false
		}
		d, ok := w.queueDelta(queueIndex(w, queue))
		return !ok || d.Delivered > 0
	},
}

func ingressFinding(w window, queue string, d Queue) *finding {
	return &finding{queue: queue, message: fmt.Sprintf("%d packets were accepted in %v and none reached the network stack",
		d.Admitted, w.span())}
}

const anyQueue = -1

func queueName(index int) string { return fmt.Sprintf("receive queue %d", index) }

func queueIndex(w window, name string) int {
	for _, q := range w.last().Queues {
		if queueName(q.Index) == name {
			return q.Index
		}
	}
	return anyQueue
}

// queueDelta returns the growth of a receive queue's counters, or of all traffic's.
func (w window) queueDelta(index int) (Queue, bool) {
	if index == anyQueue {
		return Queue{
			Index:     anyQueue,
			Admitted:  w.grew(func(s *Sample) uint64 { return s.Admitted }),
			Delivered: w.grew(func(s *Sample) uint64 { return s.Delivered }),
		}, true
	}
	was, known := w.first().queue(index)
	now, ok := w.last().queue(index)
	if !known || !ok {
		return Queue{}, false
	}
	return Queue{Index: index, Admitted: now.Admitted - was.Admitted, Delivered: now.Delivered - was.Delivered}, true
}

// missing reports whether a queue's packets are gone. Drivers exist that record no receive queue in the
// socket buffer, so that all packets seem delivered on queue 0; then none is missing in the sum.
func (w window) missing(d Queue) bool {
	all, _ := w.queueDelta(anyQueue)
	return d.Admitted >= w.min && d.Delivered == 0 && all.Delivered < all.Admitted &&
		all.Admitted-all.Delivered >= d.Admitted/2
}

// egress: Microsoft KB Q228942. A transmit leaf that holds traffic of the virtual IPs sends nothing, whatever
// the interface sends through other leaves.
//
// No counter says whose packets a leaf holds: filters choose the class after the last hook at which
// the agent sees a packet. So what enters the leaf is compared with what the virtual IPs sent. A leaf that
// sends nothing for a window is stalled in either of two cases:
//
//   - All clients: at least minAnswers packets were sent from virtual IPs, at least half as many entered the leaf, and
//     no client completed a handshake. The leaf must have grown, or one with other traffic would be found while
//     established connections run and nobody opens a new one.
//   - Some clients, those in one transmit queue of several: at least minRepeated SYNs were repeated although they were
//     answered, at least half as many packets entered the leaf, and there is a repeated SYN for every ten completed
//     handshakes. Ordinary loss repeats fewer.
//
// The filter counts a socket buffer of many segments as many packets, a queue counts it as one. TCP puts no more than a
// few of those into a queue that sends nothing (TCP small queues), and none in later windows.
//
// MinPackets does not apply: when answers are stuck there are only retransmissions, which are few. Once found, the
// stall lasts until the leaf sends again, also when the clients have given up.
var egress = stage{
	reason: v1alpha1.StallEgressQueue,
	find: func(w window) *finding {
		for _, l := range w.last().Leaves {
			if l.empty() {
				continue
			}
			if entered, ok := w.stuck(l.Name); ok && w.holdsVIPs(entered) {
				return egressFinding(w, &l)
			}
		}
		return nil
	},
	holds: func(w window, leaf string) bool { return w.covered() && w.standing(leaf) },
	moves: func(w window, leaf string) bool { return w.covered() && !w.standing(leaf) },
}

func egressFinding(w window, l *Leaf) *finding {
	answered := w.grew(func(s *Sample) uint64 { return s.Answered })
	completed := w.grew(func(s *Sample) uint64 { return s.Completed })
	return &finding{queue: l.Name, message: fmt.Sprintf("%s holds %d packets (%d bytes) and sent none for %v, "+
		"while %d packets were sent from virtual IPs and %d handshakes completed",
		l.Name, l.Packets, l.Bytes, w.span(), answered, completed)}
}

const (
	// minAnswers is what one client alone provokes in a window of five seconds: its SYN and two repetitions.
	minAnswers = 3
	// minRepeated SYNs in a window are no accident.
	minRepeated = 4
	// completedPerRepeated bounds how well the handshakes may go beside repeated SYNs.
	completedPerRepeated = 10
)

// stuck reports whether a leaf held packets at every sample of the window and sent none, and how many entered it.
func (w window) stuck(name string) (entered uint64, ok bool) {
	first, ok := w.first().leaf(name)
	if !ok {
		return 0, false
	}
	for i := range w.samples {
		l, ok := w.samples[i].leaf(name)
		if !ok || l.empty() || l.Sent != first.Sent {
			return 0, false
		}
	}
	last, _ := w.last().leaf(name)
	if last.taken() < first.taken() {
		return 0, false // replaced by another one of that name
	}
	return last.taken() - first.taken(), true
}

func (w window) holdsVIPs(entered uint64) bool {
	answered := w.grew(func(s *Sample) uint64 { return s.Answered })
	completed := w.grew(func(s *Sample) uint64 { return s.Completed })
	repeated := w.grew(func(s *Sample) uint64 { return s.RepeatedSYNs })
	all := answered >= minAnswers && completed == 0 && entered >= (answered+1)/2
	some := repeated >= minRepeated && answered >= repeated && entered >= (repeated+1)/2 &&
		repeated*completedPerRepeated >= completed
	return all || some
}

// standing reports whether a leaf that was found stuck still is, whatever entered it.
func (w window) standing(name string) bool {
	_, ok := w.stuck(name)
	return ok
}
