// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// expire drops peers that left or were silent for too long, and finds those that hear this host.
func (m *Machine) expire() {
	m.mutual = 0
	for id := range each(m.live) {
		p := &m.peers[id]
		member := m.serving() && m.committed.view.Has(id)
		switch {
		case p.msg.Flags&heartbeat.Left != 0:
			m.live = m.live.Without(id)
			m.report.peerGone(m, id, member, TransitionMemberLeft, "left the cluster")
		case m.now >= m.expiry(p):
			m.live = m.live.Without(id)
			m.report.peerGone(m, id, member, TransitionMemberLost, "was not heard for %v", m.now-p.heardAt)
		case p.msg.Heard.Has(m.s.HostID):
			m.mutual = m.mutual.With(id)
		}
	}
	for id := range m.duplicates {
		if r := &m.duplicates[id]; r.msg != nil && m.now >= r.heardAt+m.lifetime(r.msg) {
			*r = duplicate{}
		}
	}
}
