// SPDX-License-Identifier: Apache-2.0

package convergence

import "time"

// maxHoldMillis bounds a hold: peers do not take over from a host that dies during it.
const maxHoldMillis = 60_000

// announceHold starts a hold of up to d with the next heartbeat.
func (m *Machine) announceHold(d time.Duration) {
	m.holdFor = min(d, maxHoldMillis*time.Millisecond)
	m.holdUntil, m.holdSent = m.now+m.holdFor, false
	m.nextSend = m.now
}

// holdReady reports whether all live peers honour the hold that was announced.
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
