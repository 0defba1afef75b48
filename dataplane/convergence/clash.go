// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// elect finds the leader, and what this host's tables hold under it. A host whose handling priority is another's leads nobody.
func (m *Machine) elect() {
	m.follower()
	if clashing := m.clashes(); clashing != m.clashing {
		m.clashing = clashing
		m.follower()
		if clashing && m.promise.Leader == m.s.HostID && (m.stance == following || m.stance == acked) {
			m.stance = aside // nobody commits a round before its leader
		}
	}
}

func (m *Machine) follower() {
	m.leader = m.findLeader()
	if m.stance == following && m.pending.id.Leader != m.leader {
		m.stance = aside // not promised anything yet that somebody could rely on
	}
	m.chooseTables()
}

// clashes reports whether this host has to stay out because a host that goes before it has its handling priority in a rule.
func (m *Machine) clashes() bool {
	if m.tables == nil || m.conflicted || !m.member() {
		return false
	}
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&notMember == 0 && m.precedes(msg) && samePriority(m.tables, msg) >= 0 {
			return true
		}
	}
	return false
}

// precedes reports whether a peer keeps its place if only one of it and this host can be a member: the one that serves, else the
// one with the lower ID. Of groups that meet, one stands back first.
func (m *Machine) precedes(msg *heartbeat.Message) bool {
	serves := msg.Flags&heartbeat.Serving != 0
	switch {
	case m.contradicts(msg):
		return false
	case serves != m.serving:
		return serves
	case serves:
		return msg.HostID < m.s.HostID
	default: // nor does it take the place of a member as long as its rules keep it out
		return msg.HostID < m.s.HostID && holds(msg, digestOf(m.tables))
	}
}

// samePriority returns the first Single slot in which the sender has the priority that the policy gives this host, -1 if there is
// none. The state of the rule does not matter: it may change at any time.
func samePriority(p *Policy, msg *heartbeat.Message) int {
	for i := range bucket.DefaultSlot {
		s := &p.Slots[i]
		own := heartbeat.NewRule(uint8(s.Mode), heartbeat.Enabled, s.Priority, s.Digest)
		if s.Mode == placement.Single && msg.Rules[i].Of(heartbeat.Enabled) == own {
			return i
		}
	}
	return -1
}
