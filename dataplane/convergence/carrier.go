// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/bucket"

// setCarrier stores whether the interface has a carrier, and reports whether that changed. Without
// one the host gives up everything, so that it does not serve beside its peers in the moment after
// the carrier is back; with it back it starts as after a boot. NLB calls the state
// MEDIA_DISCONNECTED.
func (m *Machine) setCarrier(up bool) bool {
	if up != m.noCarrier {
		return false
	}
	m.noCarrier = !up
	if up {
		m.report.transition(TransitionCarrierBack, m.s.HostID, "the interface has a carrier again")
		m.startedAt, m.listenUntil = m.now, m.now+m.timeout()
	} else {
		m.report.transition(TransitionCarrierLost, m.s.HostID,
			"the interface has no carrier: accepts nothing until it has one, and has converged again")
		m.fence()
	}
	m.hasSent, m.holdUntil = false, 0
	m.nextSend = m.now
	return true
}

// evaluateWithoutCarrier keeps a host without a carrier out of everything. It can leave at once,
// since there is nobody to hand over to.
func (m *Machine) evaluateWithoutCarrier() {
	m.masked = bucket.Table{}
	m.leader = 0
	m.endService(serviceExcluded)
	if m.leaving() {
		m.membership, m.leaveNotices = memberOut, 0
	}
	m.compose()
}
