// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// leaveNoticeCount is how many heartbeats say that a host left. Its peers have a round without it
// by then; if not, the notice saves them the timeout.
const leaveNoticeCount = 3

// finishLeaving ends the membership once the peers committed a round without this host, or no peer
// can take over, or two timeouts have passed.
func (m *Machine) finishLeaving() {
	if !m.leaving() {
		return
	}
	successors := false
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&notMember != 0 {
			continue
		}
		if msg.Flags&heartbeat.Serving != 0 && msg.View.Has(m.s.HostID) || m.serving() {
			successors = true
		}
	}
	if successors && m.now < m.leavingAt+2*m.timeout() {
		return
	}
	m.fence()
	m.endService(serviceExcluded)
	m.membership, m.leaveNotices = memberOut, leaveNoticeCount
	m.leader = 0
	m.nextSend = m.now
	m.compose()
}

// evaluateStopped keeps a stopped host out of everything.
func (m *Machine) evaluateStopped() {
	m.masked = bucket.Table{}
	m.leader = 0
	m.compose()
}
