// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// active are the flags of a host that takes part in its Round.
const active = heartbeat.Following | heartbeat.Acked

// yield promises this host to a later round of which it is no member, if peers that hear it wait for that. From then on it
// accepts nothing until it commits a later one.
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
	if m.serving {
		m.suspended = true
		if !m.leaving() && !m.clashing {
			m.report.transition(TransitionExcluded, m.s.HostID, "makes way for %s under leader %d, who converge without this host",
				list(m.peers[best].msg.RoundView), m.peers[best].msg.Round.Leader)
		}
	}
	m.release()
	m.promise, m.stance = m.peers[best].msg.Round, yielded
	m.yieldedTo = m.peers[best].msg.RoundInputs
	return true
}

// better orders rounds that want this host to yield: the lower leader's first, then the newer.
func better(a, b heartbeat.Round) bool {
	if a.Leader != b.Leader {
		return a.Leader < b.Leader
	}
	return a.After(b)
}

// mayPromise reports whether a round is later than all that this host promised itself to.
func (m *Machine) mayPromise(r heartbeat.Round) bool {
	return r.After(m.promise)
}

// yieldsTo decides whether this host stands back for the round in a peer's heartbeat, which excludes it. A host that serves
// does so only for a group that serves, under the same or a lower leader; a joiner for any but a worse one.
func (m *Machine) yieldsTo(msg *heartbeat.Message) bool {
	if m.knobs.neverYield {
		return false
	}
	if m.leaving() || m.clashing {
		return true
	}
	if (m.stance == following || m.stance == acked) && msg.Round.Leader > m.promise.Leader {
		return false
	}
	if !m.serving {
		return true
	}
	potent := msg.Flags&(heartbeat.Serving|heartbeat.Acked) != 0
	return potent && msg.Round.Leader <= m.rank()
}

// rank is the leader by which this host compares its group with others.
func (m *Machine) rank() uint8 {
	if m.leader == 0 {
		return m.s.HostID
	}
	return m.leader
}

// follow takes part in the round of this host's leader.
func (m *Machine) follow() bool {
	if m.leader == 0 {
		return false
	}
	msg := m.peers[m.leader].msg
	if msg.Flags&active == 0 || msg.Round.Leader != m.leader || !msg.RoundView.Has(m.s.HostID) || !m.mayPromise(msg.Round) {
		return false
	}
	m.promise, m.stance = msg.Round, following
	m.pending = round{
		id: msg.Round, view: msg.RoundView, inputs: msg.RoundInputs, result: msg.RoundResult, cause: Cause(msg.Cause), since: m.now,
	}
	return true
}

// acknowledge agrees to the round that this host follows, if it comes to the same assignment from what it knows itself, and if
// every host outside the view that hears it has yielded to this very round. It releases at once what the round takes from it.
func (m *Machine) acknowledge() bool {
	if m.stance != following {
		return false
	}
	policy := m.roundPolicy()
	if policy == nil {
		return false
	}
	inputs, config, ok := m.inputsOf(m.pending.view, policy.Digest)
	if !ok || inputs != m.pending.inputs || !m.outsidersYielded() || m.startBlocked() {
		return false
	}
	a := m.assign(m.pending.view, policy)
	if a.digest != m.pending.result {
		return false
	}
	m.stance = acked
	m.pending.policy, m.pending.config, m.pending.table, m.pending.defaultOwner = policy, config, a.own, a.defaultOwner
	m.pending.outsiders = m.mutual &^ m.pending.view
	for id := range each(m.pending.view) {
		msg := m.known(id)
		m.pending.keys[id], m.pending.incarnations[id] = msg.HostKey, msg.Incarnation
	}
	m.agreedTo = m.pending.id
	if !m.knobs.keepOnAck {
		m.restrict(&a.own, policy)
	}
	return true
}

// roundPolicy returns the policy of the round that this host follows: the one of the leader's tables.
func (m *Machine) roundPolicy() *Policy {
	if m.pending.id.Leader == m.s.HostID {
		return m.held(m.lead.policy)
	}
	if msg := m.peers[m.pending.id.Leader].msg; msg != nil {
		return m.held(tablesDigest(msg))
	}
	return nil
}

// restrict takes away what a round does not leave this host.
func (m *Machine) restrict(own *bucket.Table, policy *Policy) {
	keep := m.carriesOver(&m.accept, policy)
	for i := range keep {
		m.accept[i] = keep[i] & own[i]
	}
}

// outsidersYielded reports whether all hosts outside the pending view that hear this one have promised themselves to the very
// round. That a host accepts nothing would not do: it might be about to commit another round, relying on the same of this host.
func (m *Machine) outsidersYielded() bool {
	if m.knobs.ignoreOutside {
		return true
	}
	for id := range each(m.mutual &^ m.pending.view) {
		msg := m.peers[id].msg
		if msg.Round != m.pending.id || msg.Flags&heartbeat.Yielded == 0 || msg.RoundInputs != m.pending.inputs {
			return false
		}
	}
	return true
}

// startBlocked keeps a host that serves nothing from starting beside a group that it hears and that does not hear it: the host may
// be mute. Where other peers do hear this host, the group is deaf, and is waited for only two timeouts; where they serve already,
// it is not waited for at all.
func (m *Machine) startBlocked() bool {
	if m.serving || m.anyServing(m.pending.view&m.mutual) {
		return false
	}
	for id := range each(m.servingPeers() &^ m.mutual &^ m.pending.view) {
		if m.mutual == 0 || m.now < m.peers[id].unlistedSince+2*m.timeout() {
			return true
		}
	}
	for i := range m.rivals {
		if r := m.rivals[i].msg; r != nil && r.Flags&heartbeat.Serving != 0 {
			return true // it serves, with an ID that belongs to another
		}
	}
	return false
}

// commit puts the acknowledged round in force: on the leader once all members acknowledged, on others once somebody committed it.
func (m *Machine) commit() bool {
	if m.knobs.commitUnacked && m.stance == following {
		if policy := m.roundPolicy(); policy != nil {
			a := m.assign(m.pending.view, policy)
			m.pending.policy, m.pending.table, m.pending.defaultOwner = policy, a.own, a.defaultOwner
			m.enforce()
			return true
		}
	}
	if m.stance != acked || !m.agreed() || !m.outsidersKept() || m.hasty() {
		return false
	}
	m.enforce()
	return true
}

// hasty reports whether a host that is left alone has to wait a little before it takes over. Whom it does not hear any more may be mute, hear
// from the proposal that it is out, and needs time to give up; where there are members left, their acknowledgements take that time.
func (m *Machine) hasty() bool {
	alone := heartbeat.SetOf(m.s.HostID)
	if !m.serving || m.pending.view != alone || m.committed.view == alone {
		return false
	}
	until := m.pending.since + m.period/8
	m.lead.wakeAt(until)
	return m.now < until
}

// agreed reports whether the pending round may be committed as far as its members are concerned.
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

// outsidersKept reports whether the hosts outside the view still keep what made this host acknowledge, and those that it met since do too.
func (m *Machine) outsidersKept() bool {
	if m.knobs.ignoreOutside {
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
	m.stance = aside
	if m.inForce == nil || m.inForce.Digest != m.committed.policy.Digest {
		m.idle = bucket.Table{}
		m.report.transition(TransitionPolicyInForce, m.s.HostID, "generation %d is in force", m.committed.policy.Generation)
	}
	m.inForce = m.committed.policy
	m.accept = m.committed.table
	m.serving, m.suspended = true, false
	m.lead.lagging = false
	m.report.committed(m, before.view)
}
