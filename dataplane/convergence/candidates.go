// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// candidates returns the peers that this host, as leader, could take into its view under the policy
// (0: any): in ascending order of ID, each that hears, and is heard by, all taken before.
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

// eligible reports whether a peer can be a member under this host as leader.
func (m *Machine) eligible(p *peer) bool {
	return m.mayJoin(p) && (p.msg.Leader == 0 || p.msg.Leader >= m.s.HostID)
}

// mayJoin reports whether a peer can be a member at all; it may still follow a lower leader.
func (m *Machine) mayJoin(p *peer) bool {
	return p.msg.Flags&notMember == 0 && m.now >= p.refusedUntil
}

// unlinked returns the hosts that are fit to be members and are not in view: a link is missing, or
// is not known yet, or they have not noticed yet that their leader is gone. For a joiner that is to
// lead they include members of the group that it has not heard yet: it must not exclude them.
func (m *Machine) unlinked(view heartbeat.Set, policy uint64) heartbeat.Set {
	var out heartbeat.Set
	for id := range each(m.live &^ view) {
		if p := &m.peers[id]; m.mayJoin(p) && holds(p.msg, policy) {
			out = out.With(id)
		}
	}
	if m.serving() {
		return out
	}
	for id := range each(m.servingPeers() & view) {
		out |= m.peers[id].msg.View &^ m.live &^ view
	}
	return out
}
