// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// receive handles a heartbeat and reports whether it says anything new.
func (m *Machine) receive(msg *heartbeat.Message) bool {
	otherCluster := msg.ClusterIP != m.s.ClusterIP || msg.ClusterKey != m.s.ClusterKey
	if otherCluster || msg.HostID == 0 || msg.HostID > heartbeat.MaxHosts {
		return false
	}
	if r := m.duplicates[msg.HostID].msg; r != nil && r.HostKey == msg.HostKey && !newer(msg, r) {
		return false
	}
	if msg.HostID == m.s.HostID {
		return m.receiveOwnID(msg)
	}
	p := &m.peers[msg.HostID]
	old := p.msg
	if old != nil && old.HostKey != msg.HostKey {
		if m.live.Has(msg.HostID) && (m.reliesOn(old) || !m.outranks(msg, old)) {
			return m.recordDuplicate(msg)
		}
		if m.live.Has(msg.HostID) {
			m.recordDuplicate(old)
		}
		m.forget(msg.HostID)
		old = nil
	}
	if old != nil && !newer(msg, old) {
		return false
	}
	if old != nil && msg.Incarnation != old.Incarnation {
		m.forget(msg.HostID)
		old = nil
	}
	return m.update(p, old, msg)
}

// newer reports whether a host sent a after b.
func newer(a, b *heartbeat.Message) bool {
	return a.Incarnation > b.Incarnation || a.Incarnation == b.Incarnation && a.Sequence > b.Sequence
}

// update stores a peer's newest heartbeat and reports whether it says anything new.
func (m *Machine) update(p *peer, old, msg *heartbeat.Message) bool {
	p.msg, p.heardAt = msg, m.now
	lists := msg.Heard.Has(m.s.HostID)
	revived := !m.live.Has(msg.HostID) && msg.Flags&heartbeat.Left == 0
	if revived {
		m.live = m.live.With(msg.HostID)
		p.unlistedSince, p.listed = m.now, false
	}
	if p.listed && !lists && old != nil && old.Heard.Has(m.s.HostID) {
		p.unlistedSince = m.now
	}
	p.listed = p.listed || lists
	m.highest = max(m.highest, msg.Highest, msg.Round.Number, msg.Committed.Number)
	if !revived && old != nil && sameState(old, msg) {
		return false
	}
	p.digest.valid = false
	return true
}

// forget drops what was known of a host, whose ID now is another incarnation or host.
func (m *Machine) forget(id uint8) {
	m.peers[id] = peer{}
	m.live = m.live.Without(id)
	m.mutual = m.mutual.Without(id)
}

// outranks reports whether the sender of a keeps an ID that b claims, too: the one that serves,
// else the one that was not in conflict, else the lower host key.
func (m *Machine) outranks(a, b *heartbeat.Message) bool {
	if as, bs := a.Flags&heartbeat.Serving != 0, b.Flags&heartbeat.Serving != 0; as != bs {
		return as
	}
	if (a.Flags^b.Flags)&heartbeat.Conflicted != 0 {
		return b.Flags&heartbeat.Conflicted != 0
	}
	return a.HostKey < b.HostKey
}

// reliesOn reports whether the sender is a member of this host's committed round: its buckets do
// not become free by another host with its ID.
func (m *Machine) reliesOn(msg *heartbeat.Message) bool {
	c := &m.committed
	return m.serving() && msg.Flags&heartbeat.Conflicted == 0 &&
		c.view.Has(msg.HostID) && c.keys[msg.HostID] == msg.HostKey
}

// recordDuplicate stores the heartbeat of a host whose ID belongs to another, and reports whether
// it says anything new.
func (m *Machine) recordDuplicate(msg *heartbeat.Message) bool {
	r := &m.duplicates[msg.HostID]
	isNew := r.msg == nil || r.msg.HostKey != msg.HostKey || r.msg.Flags != msg.Flags || r.msg.Ready != msg.Ready ||
		m.now >= r.heardAt+m.lifetime(r.msg)
	*r = duplicate{msg: msg, heardAt: m.now}
	return isNew
}

// receiveOwnID handles a heartbeat with this host's ID.
func (m *Machine) receiveOwnID(msg *heartbeat.Message) bool {
	if msg.HostKey == m.s.HostKey && msg.Incarnation <= m.s.Incarnation || msg.Flags&heartbeat.Left != 0 {
		return false
	}
	return m.recordDuplicate(msg)
}
