// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// commit puts the acknowledged round in force: on the leader once all members acknowledged, on the
// others once a member committed it.
func (m *Machine) commit() bool {
	if m.role != roleAcked || m.enforced(ruleAcknowledge) && !m.agreed() {
		return false
	}
	if !m.outsidersKept() || m.mustDelayTakeover() {
		return false
	}
	m.enforce()
	return true
}

// mustDelayTakeover reports whether a host that is left alone still has to wait before it takes
// over. The peer that it lost may be mute; it hears from the proposal that it is out, and needs
// time to fence itself. With more members left, their acknowledgements take that time.
func (m *Machine) mustDelayTakeover() bool {
	alone := heartbeat.SetOf(m.s.HostID)
	if !m.serving() || m.pending.view != alone || m.committed.view == alone {
		return false
	}
	until := m.pending.since + m.period/8
	m.lead.wakeAt(until)
	return m.now < until
}

// agreed reports whether the members have done what the commit of the pending round needs.
func (m *Machine) agreed() bool {
	for id := range each(m.pending.view.Without(m.s.HostID)) {
		msg := m.peers[id].msg
		if msg != nil && msg.Round == m.pending.id && msg.RoundInputs != m.pending.inputs {
			return false // another host with the leader's ID proposed that
		}
		done := msg != nil && msg.Committed == m.pending.id && msg.Flags&heartbeat.Serving != 0
		if m.pending.id.Leader != m.s.HostID {
			if done {
				return true
			}
			continue
		}
		if !done && (msg == nil || msg.Round != m.pending.id || msg.Flags&heartbeat.Acked == 0) {
			return false
		}
	}
	return m.pending.id.Leader == m.s.HostID
}

// outsidersKept reports whether the hosts outside the view still do what made this host
// acknowledge, and those heard since do too.
func (m *Machine) outsidersKept() bool {
	if !m.enforced(ruleFenceOutsiders) {
		return true
	}
	for id := range each(m.mutual &^ m.pending.view) {
		msg := m.peers[id].msg
		exact := msg.Round == m.pending.id && msg.Flags&heartbeat.Yielded != 0 && msg.RoundInputs == m.pending.inputs
		kept := m.pending.outsiders.Has(id) && msg.Flags&heartbeat.Serving == 0
		if !exact && !kept {
			return false
		}
	}
	return true
}

// enforce puts the pending round in force.
func (m *Machine) enforce() {
	before := m.committed
	m.committed = m.pending
	m.pending = round{}
	m.role = roleNone
	if m.inForce == nil || m.inForce.Digest != m.committed.policy.Digest {
		m.idle = bucket.Table{}
		m.report.transition(TransitionPolicyInForce, m.s.HostID,
			"generation %d is in force", m.committed.policy.Generation)
	}
	m.inForce = m.committed.policy
	m.accept = m.committed.table
	m.service = serviceActive
	m.lead.lagging = false
	m.report.roundCommitted(m, before.view)
}
