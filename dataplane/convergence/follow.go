// SPDX-License-Identifier: Apache-2.0

package convergence

// follow takes part in the round that this host's leader proposed.
func (m *Machine) follow() bool {
	if m.leader == 0 {
		return false
	}
	msg := m.peers[m.leader].msg
	leads := msg.Flags&active != 0 && msg.Round.Leader == m.leader
	if !leads || !msg.RoundView.Has(m.s.HostID) || !m.mayPromise(msg.Round) {
		return false
	}
	m.promise, m.role = msg.Round, roleFollowing
	m.pending = round{
		id: msg.Round, view: msg.RoundView, inputs: msg.RoundInputs, result: msg.RoundResult,
		cause: Cause(msg.Cause), since: m.now,
	}
	return true
}
