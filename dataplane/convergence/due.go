// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// dueCause returns why a round is needed, CauseNone if the committed one still fits. mine: a round
// of this host is under way.
func (m *Machine) dueCause(mine bool) Cause {
	l := &m.lead
	if mine {
		return m.pending.cause
	}
	old := &m.committed
	switch {
	case !m.serving():
		return CauseNewMember
	case l.view&^old.view != 0:
		return CauseNewMember
	case l.view != old.view:
		return m.lossCause(old.view &^ l.view)
	case l.policy != digestOf(m.inForce):
		return CauseModifiedRules
	}
	if _, config, ok := m.inputsOf(l.view, l.policy); !ok || config != old.config {
		return m.configCause()
	}
	return m.lagCause()
}

// lossCause tells members that left, or are kept out by their config, from members that were lost.
func (m *Machine) lossCause(gone heartbeat.Set) Cause {
	cause := CauseMemberLeft
	for id := range each(gone) {
		msg := m.peers[id].msg
		switch {
		case msg == nil || msg.Flags&(heartbeat.Leaving|heartbeat.Left|heartbeat.Clashing) == 0:
			return CauseMemberLost
		case msg.Flags&heartbeat.Clashing != 0:
			cause = CauseBadConfig
		}
	}
	return cause
}

// configCause tells a member that restarted from changed parameters.
func (m *Machine) configCause() Cause {
	for id := range each(m.committed.view.Without(m.s.HostID)) {
		if msg := m.peers[id].msg; msg != nil && msg.Committed.IsZero() {
			return CauseNewMember
		}
	}
	return CauseModifiedParams
}

// lagCause finds members that are not at the committed round. A new round is needed at once if one
// gave it up, or released buckets for a round that nobody leads any more; after two periods if the
// members may just not have heard of the commit yet.
func (m *Machine) lagCause() Cause {
	if m.role == roleAcked || m.role == roleNone && m.accept != m.committed.table {
		// This host released buckets for a round whose leader is gone, or leads no more.
		return CauseUnknown
	}
	l, lagging := &m.lead, false
	for id := range each(m.committed.view.Without(m.s.HostID)) {
		msg := m.peers[id].msg
		elsewhere := msg.Flags&active != 0 && msg.Round != m.committed.id
		switch {
		case elsewhere && msg.Leader == m.s.HostID:
			return CauseUnknown
		case elsewhere:
			lagging = true
		case msg.Flags&active == 0 && msg.Committed == m.committed.id && msg.Ready != msg.Current:
			return CauseUnknown
		case msg.Committed == m.committed.id && msg.Flags&heartbeat.Serving != 0:
		case msg.Round == m.committed.id && msg.Flags&heartbeat.Acked != 0, m.committed.id.After(msg.Round):
			lagging = true
		default:
			return CauseUnknown
		}
	}
	if lagging && !l.lagging {
		l.lagSince = m.now
	}
	l.lagging = lagging
	if !lagging {
		return CauseNone
	}
	if m.now >= l.lagSince+2*m.period {
		return CauseUnknown
	}
	l.wakeAt(l.lagSince + 2*m.period)
	return CauseNone
}
