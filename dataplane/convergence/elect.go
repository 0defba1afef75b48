// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// notMember are the flags of hosts that take part in no round as members.
const notMember = heartbeat.Leaving | heartbeat.Left | heartbeat.Conflicted | heartbeat.Clashing

// elect finds the leader and, under it, the policy to advertise. A host with a duplicate handling
// priority neither leads nor takes part in a round.
func (m *Machine) elect() {
	m.selectLeader()
	if duplicate := m.hasDuplicatePriority(); duplicate != (m.dispute == disputePriority) {
		m.dispute = disputeNone
		if duplicate {
			m.dispute = disputePriority
		}
		m.selectLeader()
		if duplicate && m.promise.Leader == m.s.HostID && m.inRound() {
			m.role = roleNone // safe: nobody commits a round before its leader does
		}
	}
}

// selectLeader finds the leader, gives up following another one's round, and selects the policy to
// advertise.
func (m *Machine) selectLeader() {
	m.leader = m.findLeader()
	if m.role == roleFollowing && m.pending.id.Leader != m.leader {
		m.role = roleNone // safe: nobody relies on a host that has not acknowledged
	}
	m.chooseAdvertised()
}

// findLeader returns the host to follow: the lowest ID that claims to lead, hears this host and has
// a policy to agree on. It may be this host; 0 means none.
func (m *Machine) findLeader() uint8 {
	for id := uint8(1); id <= heartbeat.MaxHosts; id++ {
		if id == m.s.HostID && m.canLead() || m.mutual.Has(id) && m.acceptsLeader(id) {
			return id
		}
	}
	return 0
}

// acceptsLeader reports whether this host may follow a peer. One that serves does not follow a
// joiner whose policy its group cannot take.
func (m *Machine) acceptsLeader(id uint8) bool {
	msg := m.peers[id].msg
	if msg.Leader != id || msg.Flags&notMember != 0 {
		return false
	}
	return !m.serving() || msg.Flags&heartbeat.Serving != 0 || m.admissible(msg)
}

// admissible reports whether a joiner can work with this host's group: it holds the policy in
// force, or offers what all members offer.
func (m *Machine) admissible(msg *heartbeat.Message) bool {
	if holds(msg, digestOf(m.inForce)) {
		return true
	}
	if msg.Offered != digestOf(m.offered) {
		return false
	}
	for id := range each(m.committed.view & m.live) {
		if m.peers[id].msg.Offered != msg.Offered {
			return false
		}
	}
	return true
}

// canLead reports whether this host may lead if it has the lowest ID. One that does not serve may
// not while it hears a group that serves under a lower leader, or by a policy that this host does
// not hold.
func (m *Machine) canLead() bool {
	if !m.member() || m.dispute != disputeNone || m.offered == nil {
		return false
	}
	if m.serving() {
		return true
	}
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&heartbeat.Serving == 0 || msg.Flags&notMember != 0 {
			continue
		}
		if msg.Leader != 0 && msg.Leader < m.s.HostID && msg.Leader != id {
			return false
		}
		if m.held(msg.InForce) == nil && m.held(m.choosePolicy(m.candidates(0))) == nil {
			return false
		}
	}
	return true
}
