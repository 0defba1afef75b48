// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// fenceAfterPause fences this host if it was silent for so long that peers may have taken over. One
// that wakes late, but not too late, first reads the heartbeats that came meanwhile, before it may
// start alone or take over from a peer.
func (m *Machine) fenceAfterPause() {
	if late := m.period / 2; !m.stopped() && m.now-late > m.wake {
		if !m.serving() {
			m.listenUntil = max(m.listenUntil, m.now+late)
		}
		for id := range each(m.live) {
			m.peers[id].heardAt = max(m.peers[id].heardAt, m.now+late-m.timeout())
		}
	}
	if m.stopped() || !m.hasSent || m.now < m.leaseEnd() {
		return
	}
	if m.serving() || m.inRound() {
		m.report.transition(TransitionOverslept, m.s.HostID,
			"was silent for %v, longer than peers wait: accepts nothing until it converged again", m.now-m.lastSend)
		m.fence()
	}
	m.listenUntil = max(m.listenUntil, m.now+m.timeout())
	for id := range each(m.live) {
		m.peers[id].heardAt = m.now
	}
	m.hasSent, m.holdUntil, m.holdGranted = false, 0, false
	m.nextSend = m.now
	m.wake = m.now
}

// LeaseUntil is when the filter stops accepting by itself, as far as this machine, or the one whose
// snapshot it goes on from, let it go on; 0 is at once.
func (m *Machine) LeaseUntil() time.Duration {
	if !m.serving() || !m.hasSent {
		return 0
	}
	return m.leaseEnd()
}

// leaseEnd is when the filter stops accepting new connections by itself.
func (m *Machine) leaseEnd() time.Duration {
	if !m.enforced(ruleLease) {
		return never
	}
	if m.holdGranted {
		return max(m.leaseUntil, m.holdUntil-m.margin(m.holdFor))
	}
	return m.leaseUntil
}

// fence gives up all buckets, and this host's part as a member of a round.
func (m *Machine) fence() {
	m.endService(serviceActive)
	m.accept = bucket.Table{}
	m.endRound()
}
