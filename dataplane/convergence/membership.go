// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// notMember are the flags of hosts that take part in no round as members.
const notMember = heartbeat.Leaving | heartbeat.Left | heartbeat.Conflicted | heartbeat.Clashing

// findLeader returns the host that this one follows: the lowest ID that says it leads, hears this host and can work with it;
// itself if it is that; 0 if there is none.
func (m *Machine) findLeader() uint8 {
	for id := uint8(1); id <= heartbeat.MaxHosts; id++ {
		if id == m.s.HostID && m.canLead() || m.mutual.Has(id) && m.acceptsLeader(id) {
			return id
		}
	}
	return 0
}

// acceptsLeader reports whether a peer may lead this host. A host that serves follows no joiner whose policy the group cannot take.
func (m *Machine) acceptsLeader(id uint8) bool {
	msg := m.peers[id].msg
	if msg.Leader != id || msg.Flags&notMember != 0 {
		return false
	}
	return !m.serving || msg.Flags&heartbeat.Serving != 0 || m.admissible(msg)
}

// admissible reports whether a joiner can work with this host's group: it holds the policy in force, or offers what all offer.
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

// canLead reports whether this host may lead if it has the lowest ID. A host that serves nothing stands back while
// it hears a group with a lower leader, or one whose policy it does not hold.
func (m *Machine) canLead() bool {
	if !m.member() || m.conflicted || m.clashing || m.offered == nil {
		return false
	}
	if m.serving {
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

// candidates returns the peers that this host, as leader, could take into its view if it went by the policy (0: any):
// ascending IDs that all hear each other.
func (m *Machine) candidates(policy uint64) heartbeat.Set {
	var chosen heartbeat.Set
next:
	for id := range each(m.mutual) {
		p := &m.peers[id]
		if !m.eligible(p) || policy != 0 && !holds(p.msg, policy) {
			continue
		}
		for c := range each(chosen) {
			if !p.msg.Heard.Has(c) || !m.peers[c].msg.Heard.Has(id) {
				continue next
			}
		}
		chosen = chosen.With(id)
	}
	return chosen
}

// eligible reports whether a peer can be a member under this host's lead.
func (m *Machine) eligible(p *peer) bool {
	return m.prospect(p) && (p.msg.Leader == 0 || p.msg.Leader >= m.s.HostID)
}

// prospect reports whether a peer can be a member unless it goes on to follow a lower leader.
func (m *Machine) prospect(p *peer) bool {
	return p.msg.Flags&notMember == 0 && m.now >= p.refusedUntil
}

// bystanders returns the peers that are heard, could be members by their state and policy, and are not in view: some link is
// missing or not known yet, or they have not noticed yet that their leader is gone. For a joiner that is about to lead they include
// the members of the group it joins that it has not heard yet: it must not put them out of service.
func (m *Machine) bystanders(view heartbeat.Set, policy uint64) heartbeat.Set {
	var out heartbeat.Set
	for id := range each(m.live &^ view) {
		if p := &m.peers[id]; m.prospect(p) && holds(p.msg, policy) {
			out = out.With(id)
		}
	}
	if m.serving {
		return out
	}
	for id := range each(m.servingPeers() & view) {
		out |= m.peers[id].msg.View &^ m.live &^ view
	}
	return out
}
