// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Counters are totals since the maps were made, in frames as they are on the wire; they
// survive the agent. Only frames for or from a virtual IP are counted.
type Counters struct {
	Admitted     uint64 // accepted by the filter
	Rejected     uint64 // not this host's, or not served at all
	Invalid      uint64 // malformed, truncated, or from an impossible source
	LeaseExpired uint64 // would have been admitted, but the lease is over
	Delivered    uint64 // admitted, and seen on the way into the stack
	Answered     uint64 // from a virtual IP, seen on the way out of the stack

	SYNDelivered        uint64 // delivered SYNs, repeated ones included
	SYNRepeated         uint64 // of those: the connection was half-open already
	SYNACK              uint64
	RST                 uint64 // sent from a virtual IP, those held back included
	RSTHeld             uint64 // of those: kept from the client, whose connection may be another host's
	HandshakesCompleted uint64 // first segment of the client after its SYN
	Untracked           uint64 // connections let in without an entry, the table being full
	ClientsFull         uint64 // clients that could not be kept by extended affinity, the table being full

	ResolutionAsked    uint64 // ARP requests and neighbour solicitations for a virtual IP
	ResolutionAnswered uint64 // answers that left
	ResolutionConflict uint64 // somebody else claims a virtual IP with a MAC of its own
	SenderRewritten    uint64 // own ARP or ND that would have taught a neighbour the host's MAC

	// Queues are the receive queues up to the last one with traffic. Queues beyond the
	// 64th share the counters of those 64 below.
	Queues []QueueCounters
	// Slots tells the decisions by slot. What no single slot decides is in none: frames that are
	// invalid or for all hosts.
	Slots [bucket.Slots]SlotCounters
}

// SlotCounters are the filter's decisions about the packets of one slot's rules.
type SlotCounters struct {
	Accepted uint64
	Dropped  uint64 // another host's, not served at all, or without a lease
	Opened   uint64 // of those accepted: TCP SYNs
}

// QueueCounters are the counters of one receive queue.
type QueueCounters struct {
	Admitted, Delivered uint64
}

// Counters reads all counters.
func (f *Filter) Counters() (Counters, error) {
	var perCPU []wlbsCounters
	if err := f.maps.byName[wlbsMapCounts].Lookup(uint32(0), &perCPU); err != nil {
		return Counters{}, fmt.Errorf("filter: cluster %s: map counters: %w", f.config.Cluster, err)
	}
	return sumCounters(perCPU), nil
}

func sumCounters(perCPU []wlbsCounters) Counters {
	var sum wlbsCounters
	for i := range perCPU {
		cpu := &perCPU[i]
		for j, n := range cpu.Stage {
			sum.Stage[j] += n
		}
		for q := range cpu.Admitted {
			sum.Admitted[q] += cpu.Admitted[q]
			sum.Delivered[q] += cpu.Delivered[q]
		}
		for s := range cpu.Slots {
			sum.Slots[s].Accepted += cpu.Slots[s].Accepted
			sum.Slots[s].Dropped += cpu.Slots[s].Dropped
			sum.Slots[s].Opened += cpu.Slots[s].Opened
		}
	}
	c := Counters{
		Rejected:            sum.Stage[wlbsCounterCOUNTER_REJECTED],
		Invalid:             sum.Stage[wlbsCounterCOUNTER_INVALID],
		LeaseExpired:        sum.Stage[wlbsCounterCOUNTER_LEASE_EXPIRED],
		Answered:            sum.Stage[wlbsCounterCOUNTER_ANSWERED],
		SYNDelivered:        sum.Stage[wlbsCounterCOUNTER_SYN_DELIVERED],
		SYNRepeated:         sum.Stage[wlbsCounterCOUNTER_SYN_REPEATED],
		SYNACK:              sum.Stage[wlbsCounterCOUNTER_SYN_ACK],
		RST:                 sum.Stage[wlbsCounterCOUNTER_RST],
		RSTHeld:             sum.Stage[wlbsCounterCOUNTER_RST_HELD],
		HandshakesCompleted: sum.Stage[wlbsCounterCOUNTER_HANDSHAKE_COMPLETED],
		Untracked:           sum.Stage[wlbsCounterCOUNTER_UNTRACKED],
		ClientsFull:         sum.Stage[wlbsCounterCOUNTER_CLIENTS_FULL],
		ResolutionAsked:     sum.Stage[wlbsCounterCOUNTER_RESOLUTION_ASKED],
		ResolutionAnswered:  sum.Stage[wlbsCounterCOUNTER_RESOLUTION_ANSWERED],
		ResolutionConflict:  sum.Stage[wlbsCounterCOUNTER_RESOLUTION_CONFLICT],
		SenderRewritten:     sum.Stage[wlbsCounterCOUNTER_SENDER_REWRITTEN],
	}
	for s := range c.Slots {
		n := &sum.Slots[s]
		c.Slots[s] = SlotCounters{Accepted: n.Accepted, Dropped: n.Dropped, Opened: n.Opened}
	}
	for q := range sum.Admitted {
		if sum.Admitted[q]|sum.Delivered[q] == 0 {
			continue
		}
		for len(c.Queues) <= q {
			c.Queues = append(c.Queues, QueueCounters{})
		}
		c.Queues[q] = QueueCounters{Admitted: sum.Admitted[q], Delivered: sum.Delivered[q]}
		c.Admitted += sum.Admitted[q]
		c.Delivered += sum.Delivered[q]
	}
	return c
}
