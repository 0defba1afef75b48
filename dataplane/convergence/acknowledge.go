// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// acknowledge agrees to the round that this host follows, if it computes the same assignment from
// what it heard itself, and if every host outside the view that hears it has yielded to this very
// round. What the round takes from it is released at once.
func (m *Machine) acknowledge() bool {
	if m.role != roleFollowing {
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
	m.role = roleAcked
	m.pending.policy, m.pending.config, m.pending.table, m.pending.defaultOwner = policy, config, a.own, a.defaultOwner
	m.pending.outsiders = m.mutual &^ m.pending.view
	for id := range each(m.pending.view) {
		msg := m.latest(id)
		m.pending.keys[id], m.pending.incarnations[id] = msg.HostKey, msg.Incarnation
	}
	m.lastAcked = m.pending.id
	if m.enforced(ruleReleaseFirst) {
		m.restrict(&a.own, policy)
	}
	return true
}

// roundPolicy returns the policy of the round that this host follows: the one that its leader
// advertises; nil if this host does not hold it.
func (m *Machine) roundPolicy() *Policy {
	if m.pending.id.Leader == m.s.HostID {
		return m.held(m.lead.policy)
	}
	if msg := m.peers[m.pending.id.Leader].msg; msg != nil {
		return m.held(advertisedDigest(msg))
	}
	return nil
}

// restrict releases what a round does not leave this host.
func (m *Machine) restrict(own *bucket.Table, policy *Policy) {
	keep := m.carriesOver(&m.accept, policy)
	for i := range keep {
		m.accept[i] = keep[i] & own[i]
	}
}

// outsidersYielded reports whether all hosts outside the pending view that hear this one yielded to
// this very round. That a host accepts nothing is not enough: it might be about to commit another
// round, relying on the same of this host.
func (m *Machine) outsidersYielded() bool {
	if !m.enforced(ruleFenceOutsiders) {
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

// startBlocked keeps a host that does not serve from starting beside a group that it hears and that
// does not hear it: it may be mute. If other peers hear it, the group is deaf, and blocks it for
// two timeouts only; if those peers serve, the group does not block it.
func (m *Machine) startBlocked() bool {
	if m.serving() || m.anyServing(m.pending.view&m.mutual) {
		return false
	}
	for id := range each(m.servingPeers() &^ m.mutual &^ m.pending.view) {
		if m.mutual == 0 || m.now < m.peers[id].unlistedSince+2*m.timeout() {
			return true
		}
	}
	for i := range m.duplicates {
		if r := m.duplicates[i].msg; r != nil && r.Flags&heartbeat.Serving != 0 {
			return true // it serves, with an ID that belongs to another
		}
	}
	return false
}
