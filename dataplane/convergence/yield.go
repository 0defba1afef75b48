// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// active are the flags of a host that is a member of its Round.
const active = heartbeat.Following | heartbeat.Acked

// yield promises this host to a round that leaves it out, where peers that hear it wait for that.
// From then on it accepts nothing until it commits a later round.
func (m *Machine) yield() bool {
	best := uint8(0)
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&active == 0 || msg.RoundView.Has(m.s.HostID) || !m.mayPromise(msg.Round) || !m.yieldsTo(msg) {
			continue
		}
		if best == 0 || better(msg.Round, m.peers[best].msg.Round) {
			best = id
		}
	}
	if best == 0 {
		return false
	}
	if m.serving() {
		m.service = serviceExcluded
		if !m.leaving() && m.dispute != disputePriority {
			m.report.transition(TransitionExcluded, m.s.HostID,
				"makes way for %s under leader %d, who converge without this host",
				list(m.peers[best].msg.RoundView), m.peers[best].msg.Round.Leader)
		}
	}
	m.fence()
	m.promise, m.role = m.peers[best].msg.Round, roleYielded
	m.yieldedTo = m.peers[best].msg.RoundInputs
	return true
}

// better reports whether to yield to round a rather than to b: to the lower leader's, then to the
// newer.
func better(a, b heartbeat.Round) bool {
	if a.Leader != b.Leader {
		return a.Leader < b.Leader
	}
	return a.After(b)
}

// mayPromise reports whether a round is later than every round that this host took part in.
func (m *Machine) mayPromise(r heartbeat.Round) bool {
	return r.After(m.promise)
}

// yieldsTo reports whether this host yields to the round in a peer's heartbeat, which leaves it
// out. A host that serves does so only for hosts that serve or acknowledged, under the same or a
// lower leader; one that follows a round, not for one under a higher leader.
func (m *Machine) yieldsTo(msg *heartbeat.Message) bool {
	if !m.enforced(ruleYield) {
		return false
	}
	if m.leaving() || m.dispute == disputePriority {
		return true
	}
	if m.inRound() && msg.Round.Leader > m.promise.Leader {
		return false
	}
	if !m.serving() {
		return true
	}
	serves := msg.Flags&(heartbeat.Serving|heartbeat.Acked) != 0
	return serves && msg.Round.Leader <= m.rank()
}
