// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/bucket"

// setCarrier takes note of whether the interface has a carrier, and reports whether that is news. Without one a host can serve nobody.
// It gives everything up, so that it does not serve beside its peers in the moment after the carrier is back, and then
// starts as a host does that was just switched on. NLB calls that state MEDIA_DISCONNECTED.
func (m *Machine) setCarrier(up bool) bool {
	if up != m.unplugged {
		return false
	}
	m.unplugged = !up
	if up {
		m.report.transition(TransitionCarrierBack, m.s.HostID, "the interface has a carrier again")
		m.startedAt, m.listenUntil = m.now, m.now+m.timeout()
	} else {
		m.report.transition(TransitionCarrierLost, m.s.HostID, "the interface has no carrier: accepts nothing until it has one, and has converged again")
		m.release()
	}
	m.hasSent, m.holdUntil = false, 0
	m.nextSend = m.now
	return true
}

// idleUnplugged is all that a host without a carrier does: it waits, or ends if it wants to leave, for there is nobody to hand over to.
func (m *Machine) idleUnplugged() {
	m.masked = bucket.Table{}
	m.leader, m.suspended = 0, false
	if m.leaving() {
		m.left, m.goodbyes = true, 0
	}
	m.compose()
}
