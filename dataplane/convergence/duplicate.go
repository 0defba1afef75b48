// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// resolveDuplicateID fences this host while another one with its ID is established.
func (m *Machine) resolveDuplicateID() {
	r := &m.duplicates[m.s.HostID]
	was := m.dispute == disputeHostID
	if was {
		m.dispute = disputeNone
	}
	if r.msg == nil {
		return
	}
	me := &heartbeat.Message{Extension: heartbeat.Extension{HostKey: m.s.HostKey}}
	if m.serving() {
		me.Flags |= heartbeat.Serving
	}
	if was {
		me.Flags |= heartbeat.Conflicted
	}
	other := *r.msg
	secondAgent := other.HostKey == m.s.HostKey // on this node, started later
	if !secondAgent && !m.outranks(&other, me) {
		return
	}
	m.dispute = disputeHostID
	if m.serving() || m.inRound() {
		m.fence()
	}
}
