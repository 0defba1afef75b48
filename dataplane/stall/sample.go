// SPDX-License-Identifier: Apache-2.0

// Package stall distinguishes a host whose traffic is stalled from one that is idle or slow.
//
// Traffic is stalled when packets enter one stage of their path for a whole window and none reaches the next stage.
// The Detector is pure: it is given samples of counters and has no clock. Package qdisc samples the transmit queues.
//
//   - sample.go: what is counted
//   - stages.go, queues.go: the stages, each with a reason and its evidence
//   - detector.go: from findings to a verdict, and back
//   - code.go: numbers of the reasons on the wire
package stall

import "time"

// Sample holds the counters of one moment. All counters are cumulative; a counter that went back was
// reset, and the window starts anew.
type Sample struct {
	// At is the time of the sample on any monotonic clock.
	At time.Duration

	// Packets for the virtual IPs by stage: accepted by the filter, seen at TC ingress, and sent from a
	// virtual IP at TC egress, before the queueing discipline.
	Admitted, Delivered, Answered uint64
	// Queues has the first two by receive queue, where the filter knows it.
	Queues []Queue
	// TCP by step: connection requests delivered, those of them that repeat an earlier one, answers to them
	// of both kinds, and handshakes that the client completed.
	SYNs, RepeatedSYNs, SYNACKs, RSTs, Completed uint64
	// ARP and neighbour requests for a virtual IP that were seen and answered.
	AddressAsked, AddressAnswered uint64
	// Leaves are the transmit queues and classes that hold packets themselves.
	Leaves []Leaf
	// Peers has the same TCP counters of the other members, from their heartbeats.
	Peers []Peer
	// HeartbeatsUnheard is true while peers that this host hears do not list it.
	HeartbeatsUnheard bool
}

// Queue counts packets for the virtual IPs on one receive queue.
type Queue struct {
	// Index is the receive queue's number, from 0.
	Index int
	// Admitted and Delivered count as in Sample.
	Admitted, Delivered uint64
}

// Peer counts the handshakes of another member.
type Peer struct {
	// ID is the peer's host ID, 1..32.
	ID uint8
	// SYNs counts the connection requests that repeat no earlier one, Completed the handshakes.
	SYNs, Completed uint64
}

// Leaf is a transmit queue, queueing discipline or class that has no other below it.
type Leaf struct {
	// Name as it is shown to people, such as "class 1:10 (eth0)".
	Name string
	// Sent packets left the leaf. Dropped ones did not fit.
	Sent, Dropped uint64
	// Packets and Bytes are in the leaf now.
	Packets, Bytes uint64
}

// empty reports whether the leaf holds nothing. Disciplines without a packet count still count bytes.
func (l Leaf) empty() bool { return l.Packets == 0 && l.Bytes == 0 }

// taken counts what ever entered the leaf, up to a constant, while nothing leaves it.
func (l Leaf) taken() uint64 { return l.Packets + l.Dropped }

func (s *Sample) leaf(name string) (Leaf, bool) {
	for _, l := range s.Leaves {
		if l.Name == name {
			return l, true
		}
	}
	return Leaf{}, false
}

func (s *Sample) queue(index int) (Queue, bool) {
	for _, q := range s.Queues {
		if q.Index == index {
			return q, true
		}
	}
	return Queue{}, false
}

// follows reports whether no counter of s is lower than in the earlier sample.
func (s *Sample) follows(earlier *Sample) bool {
	if s.At < earlier.At {
		return false
	}
	pairs := [][2]uint64{
		{earlier.Admitted, s.Admitted}, {earlier.Delivered, s.Delivered}, {earlier.Answered, s.Answered},
		{earlier.SYNs, s.SYNs}, {earlier.RepeatedSYNs, s.RepeatedSYNs}, {earlier.SYNACKs, s.SYNACKs},
		{earlier.RSTs, s.RSTs}, {earlier.Completed, s.Completed},
		{earlier.AddressAsked, s.AddressAsked}, {earlier.AddressAnswered, s.AddressAnswered},
	}
	for _, q := range s.Queues {
		if was, ok := earlier.queue(q.Index); ok {
			pairs = append(pairs, [2]uint64{was.Admitted, q.Admitted}, [2]uint64{was.Delivered, q.Delivered})
		}
	}
	for _, p := range pairs {
		if p[1] < p[0] {
			return false
		}
	}
	return true
}
