// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"iter"
	"math/bits"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// peer is what is known of the host with one ID.
type peer struct {
	msg     *heartbeat.Message // the newest heartbeat; nil if there was none
	heardAt time.Duration
	// listed: it has listed this host as heard since it came to life; unlistedSince is when it last
	// stopped doing so, or came to life.
	listed        bool
	unlistedSince time.Duration
	// refusedUntil: no member before, because it did not acknowledge in time.
	refusedUntil time.Duration
	digest       memberDigest
	merging      bool // it serves in another partition, and that was reported
}

// duplicate is a host whose ID belongs to another.
type duplicate struct {
	msg     *heartbeat.Message
	heardAt time.Duration
}

// each yields the IDs in s in ascending order.
func each(s heartbeat.Set) iter.Seq[uint8] {
	return func(yield func(uint8) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(uint8(bits.TrailingZeros32(uint32(s))) + 1) {
				return
			}
		}
	}
}

// latest returns the newest heartbeat of a host, this one included; nil if there is none.
func (m *Machine) latest(id uint8) *heartbeat.Message {
	if id == m.s.HostID {
		return m.self
	}
	return m.peers[id].msg
}

// sameState reports whether two heartbeats of one incarnation differ in counters and sequence only.
func sameState(a, b *heartbeat.Message) bool {
	return a.Flags == b.Flags && a.Heard == b.Heard && a.Committed == b.Committed && a.Round == b.Round &&
		a.View == b.View && a.RoundView == b.RoundView &&
		a.RoundInputs == b.RoundInputs && a.RoundResult == b.RoundResult &&
		a.Highest == b.Highest && a.InForce == b.InForce && a.Offered == b.Offered && a.Leader == b.Leader &&
		a.State == b.State && a.StallReason == b.StallReason && a.TimeoutMillis == b.TimeoutMillis &&
		(a.HoldMillis != 0) == (b.HoldMillis != 0) && a.HoldsHeard == b.HoldsHeard && a.Cause == b.Cause &&
		a.RuleCount == b.RuleCount && a.Ready == b.Ready && a.Current == b.Current && a.New == b.New &&
		a.Idle == b.Idle && a.Rules == b.Rules && a.Weights == b.Weights
}

// expiry is when a peer counts as lost unless it is heard again. The longer of both sides' timeouts
// counts, as they may differ while a new config spreads, and so does a hold.
func (m *Machine) expiry(p *peer) time.Duration {
	return p.heardAt + m.lifetime(p.msg)
}

// lifetime is how long the sender of a heartbeat counts as alive after it.
func (m *Machine) lifetime(msg *heartbeat.Message) time.Duration {
	return max(m.timeout(), time.Duration(max(msg.TimeoutMillis, min(msg.HoldMillis, maxHoldMillis)))*time.Millisecond)
}

// anyServing reports whether a peer in s serves.
func (m *Machine) anyServing(s heartbeat.Set) bool { return s&m.servingPeers() != 0 }

// servingPeers returns the live peers that serve.
func (m *Machine) servingPeers() heartbeat.Set {
	var out heartbeat.Set
	for id := range each(m.live) {
		if m.peers[id].msg.Flags&heartbeat.Serving != 0 {
			out = out.With(id)
		}
	}
	return out
}
