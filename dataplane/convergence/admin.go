// SPDX-License-Identifier: Apache-2.0

package convergence

// setAdminState changes the administrative state.
func (m *Machine) setAdminState(d AdminState) {
	if m.closing {
		d = Stopped
	}
	was := m.member()
	m.admin = d
	switch is := d == Started || d == Drained; {
	case is && !was:
		m.membership, m.leaveNotices, m.leavingAt = memberIn, 0, 0
		m.startedAt = m.now
		m.listenUntil = m.now + m.timeout()
		m.nextSend = m.now
	case !is && was:
		m.membership, m.leavingAt = memberLeaving, m.now
	}
}
