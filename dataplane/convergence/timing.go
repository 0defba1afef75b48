// SPDX-License-Identifier: Apache-2.0

package convergence

import "time"

// never is later than any deadline.
const never = time.Duration(1<<63 - 1)

// timeout is how long a host may be silent.
func (m *Machine) timeout() time.Duration { return m.period * time.Duration(m.tolerance) }

// lease is how long after a heartbeat the filter may accept: less than the peers wait.
func (m *Machine) lease() time.Duration { return m.timeout() - m.margin(m.timeout()) }

// margin is by how much a lease is shorter than what peers wait: a quarter period, for the
// granularity of the kernel's coarse clock (at most 10 ms), and 1/64 of the time, for clocks that
// run at different rates.
func (m *Machine) margin(d time.Duration) time.Duration { return m.period/4 + d/64 }

// deadline is the next time at which something happens without a heartbeat from a peer.
func (m *Machine) deadline() time.Duration {
	if m.stopped() && m.leaveNotices == 0 {
		return never
	}
	t := m.nextSend
	if m.noCarrier {
		t = never
	}
	for id := range each(m.live) {
		t = min(t, m.expiry(&m.peers[id]))
		if p := &m.peers[id]; !m.mutual.Has(id) {
			t = min(t, future(m.now, p.unlistedSince+m.timeout(), p.unlistedSince+2*m.timeout()))
		}
		t = min(t, future(m.now, m.peers[id].refusedUntil))
	}
	for id := range m.duplicates {
		if r := &m.duplicates[id]; r.msg != nil {
			t = min(t, future(m.now, r.heardAt+m.lifetime(r.msg)))
		}
	}
	if m.leader == m.s.HostID {
		t = min(t, m.lead.wake)
	}
	if m.leaving() {
		t = min(t, future(m.now, m.leavingAt+2*m.timeout()))
	}
	return max(t, m.now)
}

// future returns the first of the times after now, never if there is none.
func future(now time.Duration, times ...time.Duration) time.Duration {
	out := never
	for _, t := range times {
		if t > now {
			out = min(out, t)
		}
	}
	return out
}
