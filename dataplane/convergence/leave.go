// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// goodbyeFrames is how often a host says that it left: its peers excluded it already, so this only spares them the timeout in
// case that did not work.
const goodbyeFrames = 3

// maxHoldMillis bounds an announced silence: peers cannot take over from a host that dies during it.
const maxHoldMillis = 60_000

// finishLeaving ends the membership once the peers committed a round without this host, or there is nobody to hand over to, or
// that took two timeouts.
func (m *Machine) finishLeaving() {
	if !m.leaving() {
		return
	}
	heirs := false
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&notMember != 0 {
			continue
		}
		if msg.Flags&heartbeat.Serving != 0 && msg.View.Has(m.s.HostID) || m.serving {
			heirs = true
		}
	}
	if heirs && m.now < m.leavingAt+2*m.timeout() {
		return
	}
	m.release()
	m.suspended = false
	m.left, m.goodbyes = true, goodbyeFrames
	m.leader = 0
	m.nextSend = m.now
	m.compose()
}

// settleLeft keeps a stopped host quiet.
func (m *Machine) settleLeft() {
	m.masked = bucket.Table{}
	m.leader = 0
	m.compose()
}

// hold announces a silence.
func (m *Machine) hold(d time.Duration) {
	m.holdFor = min(d, maxHoldMillis*time.Millisecond)
	m.holdUntil, m.holdSent = m.now+m.holdFor, false
	m.nextSend = m.now
}

// holdReady reports whether all live peers honour the announced hold.
func (m *Machine) holdReady() bool {
	if m.holdUntil <= m.now || !m.holdSent {
		return false
	}
	for id := range each(m.mutual) {
		if !m.peers[id].msg.HoldsHeard.Has(m.s.HostID) {
			return false
		}
	}
	return true
}
