// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// compose fills in the heartbeat that describes this host.
func (m *Machine) compose() {
	h := m.self
	if m.sent == h { // sent messages belong to others
		h = new(heartbeat.Message)
		*h = *m.sent
		m.self = h
	}
	h.ClusterIP, h.HostIP, h.ClusterKey = m.s.ClusterIP, m.s.HostIP, m.s.ClusterKey
	h.HostID, h.HostKey, h.HostCode, h.Incarnation = m.s.HostID, m.s.HostKey, m.s.HostCode, m.s.Incarnation
	h.Leader, h.Highest = m.leader, max(m.highest, m.promise.Number)
	h.Heard, h.View = m.live, m.committed.view
	h.Committed, h.Round = m.committed.id, m.promise
	h.RoundView, h.RoundInputs, h.RoundResult = 0, 0, 0
	h.New = m.committed.table
	switch {
	case m.inRound():
		h.RoundView, h.RoundInputs, h.RoundResult = m.pending.view, m.pending.inputs, m.pending.result
		if m.role == roleAcked {
			h.New = m.pending.table
		}
	case m.role == roleYielded:
		h.RoundInputs = m.yieldedTo
	case m.promise == m.committed.id:
		h.RoundView, h.RoundInputs, h.RoundResult = m.committed.view, m.committed.inputs, m.committed.result
	}
	h.Current = m.committed.table
	m.composeReady(h)
	m.composePolicy(h)
	h.Flags = m.flags()
	h.Cause = uint8(m.cause())
	h.DefaultHost = m.defaultHost()
	h.TimeoutMillis = uint32(m.timeout() / time.Millisecond)
	h.HoldMillis = 0
	if m.holdUntil > m.now {
		h.HoldMillis = uint32((m.holdUntil - m.now) / time.Millisecond)
	}
	h.HoldsHeard = 0
	for id := range each(m.live) {
		if m.peers[id].msg.HoldMillis != 0 {
			h.HoldsHeard = h.HoldsHeard.With(id)
		}
	}
	h.StallReason = m.traffic.StallReason
}

// composeReady fills in what the filter may accept, and what is idle. Masked buckets count as
// accepted, since they come back without a round: so Ready only grows by a commit, and an old
// heartbeat never claims less than the host accepts. A bucket that is accepted is never idle.
func (m *Machine) composeReady(h *heartbeat.Message) {
	for i := range bucket.Slots {
		h.Ready[i] = 0
		if m.serving() {
			h.Ready[i] = m.accept[i]
		}
		h.Idle[i] = m.idle[i].Minus(m.accept[i])
	}
}

// composePolicy fills in the digests of the policies, and the rules and weights of the advertised
// one.
func (m *Machine) composePolicy(h *heartbeat.Message) {
	h.InForce, h.Offered, h.OfferedGeneration = digestOf(m.inForce), digestOf(m.offered), 0
	if m.offered != nil {
		h.OfferedGeneration = uint32(m.offered.Generation)
	}
	if m.advertised == nil {
		return
	}
	h.RuleCount = uint16(m.advertised.RuleCount)
	for i := range bucket.Slots {
		s := &m.advertised.Slots[i]
		if s.Mode == placement.Unused {
			h.Rules[i], h.Weights[i] = 0, 0
			continue
		}
		h.Rules[i], h.Weights[i] = heartbeat.NewRule(uint8(s.Mode), s.State, s.Priority, s.Digest), s.Weight
	}
}

// flags returns the flags of the heartbeat.
func (m *Machine) flags() heartbeat.Flags {
	var f heartbeat.Flags
	set := func(on bool, flag heartbeat.Flags) {
		if on {
			f |= flag
		}
	}
	set(m.serving(), heartbeat.Serving)
	set(m.role == roleFollowing, heartbeat.Following)
	set(m.role == roleAcked, heartbeat.Acked)
	set(m.role == roleYielded, heartbeat.Yielded)
	set(m.leaving(), heartbeat.Leaving)
	set(m.stopped(), heartbeat.Left)
	set(m.dispute == disputeHostID, heartbeat.Conflicted)
	set(m.dispute == disputePriority, heartbeat.Clashing)
	set(m.advertised != nil && m.advertised.Digest != digestOf(m.inForce), heartbeat.TablesOffered)
	set(m.admin == Drained, heartbeat.Draining)
	set(m.traffic.Evict, heartbeat.Evict)
	return f
}

// cause returns why the host is converging, or did last.
func (m *Machine) cause() Cause {
	if m.inRound() {
		return m.pending.cause
	}
	return m.committed.cause
}

func phaseOf(s State) heartbeat.Phase {
	if s == StateConverged || s == StateDraining {
		return heartbeat.PhaseConverged
	}
	return heartbeat.PhaseConverging
}
