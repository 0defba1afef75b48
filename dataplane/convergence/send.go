// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// output decides what to send and what the filter does, after evaluate.
func (m *Machine) output() Output {
	m.report.update(m)
	m.self.State, m.self.Phase = uint8(m.report.view.State), phaseOf(m.report.view.State)
	var out Output
	retry := never
	switch {
	case m.stopped() && m.leaveNotices == 0, m.noCarrier:
	case m.now >= m.nextSend:
		out.SendBy = m.sendBy()
		out.Send = m.nextHeartbeat()
	case m.sent == nil || !sameState(m.sent, m.self):
		if m.pacer.take(m.now, m.period) {
			out.SendBy = m.sendBy()
			out.Send = m.nextHeartbeat()
		} else {
			retry = m.pacer.next(m.period)
		}
	}
	m.wake = min(m.deadline(), retry)
	m.fillIn(&out)
	return out
}

// unchanged is the output of a step in which nothing happened.
func (m *Machine) unchanged() Output {
	out := Output{Wake: m.wake, Decision: m.decision, View: m.report.view, Left: m.stopped(), HoldReady: m.holdReady()}
	return out
}

// fillIn completes the output with decision, view and transitions.
func (m *Machine) fillIn(out *Output) {
	d := m.decide()
	lease := d.LeaseUntil
	d.LeaseUntil = m.decision.LeaseUntil
	out.DecisionChanged = d != m.decision
	d.LeaseUntil = lease
	m.decision = d
	m.idle = without(&m.idle, &d.Accept)
	out.Wake, out.Decision = m.wake, d
	out.View, out.ViewChanged = m.report.view, m.report.take()
	out.Transitions = m.report.drain()
	out.Left, out.HoldReady = m.stopped(), m.holdReady()
}

// sendBy is when the next heartbeat has to have left: before the lease ends that the last one
// renewed. Without one that peers count on, any time will do.
func (m *Machine) sendBy() time.Duration {
	if !m.hasSent {
		return never
	}
	return m.leaseEnd()
}

// nextHeartbeat returns the heartbeat to send now.
func (m *Machine) nextHeartbeat() *heartbeat.Message {
	m.sequence++
	h := m.self
	h.Sequence = m.sequence
	h.PacketsHandled, h.SYNs, h.Handshakes = m.traffic.PacketsHandled, m.traffic.SYNs, m.traffic.Handshakes
	m.sent = h
	m.holdSent = m.holdSent || h.HoldMillis != 0
	m.priorLease = m.leaseUntil
	m.lastSend, m.leaseUntil, m.hasSent = m.now, m.now+m.lease(), true
	m.nextSend = m.now + m.interval()
	if m.stopped() {
		m.leaveNotices--
		m.nextSend = m.now + m.period/2
		m.hasSent = false
	}
	return h
}

// unsent takes back that the last heartbeat was sent in time: it renews no lease.
func (m *Machine) unsent() {
	m.leaseUntil = min(m.leaseUntil, max(m.priorLease, m.now))
	m.nextSend = min(m.nextSend, m.now+m.period/4)
	m.holdSent = false
}

// interval is the time to the next periodic heartbeat: a quarter while a round is under way, so
// that a lost one costs little.
func (m *Machine) interval() time.Duration {
	if m.inRound() || m.role == roleYielded || m.lead.lagging {
		return m.period / 4
	}
	return m.period
}
