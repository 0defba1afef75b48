// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// compose describes this host in its heartbeat.
func (m *Machine) compose() {
	h := m.self
	if m.sent == h { // sent messages belong to others
		h = new(heartbeat.Message)
		*h = *m.sent
		m.self = h
	}
	h.ClusterIP, h.HostIP, h.ClusterKey = m.s.ClusterIP, m.s.HostIP, m.s.ClusterKey
	h.HostID, h.HostKey, h.HostCode, h.Incarnation = m.s.HostID, m.s.HostKey, m.s.HostCode, m.s.Incarnation
	h.Leader, h.Highest = m.leader, max(m.highest, m.promise.Number)
	h.Heard, h.View = m.live, m.committed.view
	h.Committed, h.Round = m.committed.id, m.promise
	h.RoundView, h.RoundInputs, h.RoundResult = 0, 0, 0
	h.New = m.committed.table
	switch {
	case m.stance == following || m.stance == acked:
		h.RoundView, h.RoundInputs, h.RoundResult = m.pending.view, m.pending.inputs, m.pending.result
		if m.stance == acked {
			h.New = m.pending.table
		}
	case m.stance == yielded:
		h.RoundInputs = m.yieldedTo
	case m.promise == m.committed.id:
		h.RoundView, h.RoundInputs, h.RoundResult = m.committed.view, m.committed.inputs, m.committed.result
	}
	h.Current = m.committed.table
	m.composeReady(h)
	m.composePolicy(h)
	h.Flags = m.flags()
	h.Cause = uint8(m.cause())
	h.DefaultHost = m.defaultHost()
	h.TimeoutMillis = uint32(m.timeout() / time.Millisecond)
	h.HoldMillis = 0
	if m.holdUntil > m.now {
		h.HoldMillis = uint32((m.holdUntil - m.now) / time.Millisecond)
	}
	h.HoldsHeard = 0
	for id := range each(m.live) {
		if m.peers[id].msg.HoldMillis != 0 {
			h.HoldsHeard = h.HoldsHeard.With(id)
		}
	}
	h.StallReason = m.traffic.StallReason
}

// composeReady fills in what the filter may accept, and what is idle: never a bucket whose new connections this host accepts. What is
// masked counts, for it comes back without a round: Ready only ever grows by a commit, so that an old one is no less than a new one.
func (m *Machine) composeReady(h *heartbeat.Message) {
	for i := range bucket.Slots {
		h.Ready[i] = 0
		if m.serving {
			h.Ready[i] = m.accept[i]
		}
		h.Idle[i] = m.idle[i].Minus(m.accept[i])
	}
}

// composePolicy fills in the policies and the tables that belong to one of them.
func (m *Machine) composePolicy(h *heartbeat.Message) {
	h.InForce, h.Offered, h.OfferedGeneration = digestOf(m.inForce), digestOf(m.offered), 0
	if m.offered != nil {
		h.OfferedGeneration = uint32(m.offered.Generation)
	}
	if m.tables == nil {
		return
	}
	h.RuleCount = uint16(m.tables.RuleCount)
	for i := range bucket.Slots {
		s := &m.tables.Slots[i]
		if s.Mode == placement.Unused {
			h.Rules[i], h.Weights[i] = 0, 0
			continue
		}
		h.Rules[i], h.Weights[i] = heartbeat.NewRule(uint8(s.Mode), s.State, s.Priority, s.Digest), s.Weight
	}
}

// flags returns the yes-or-no parts of the state.
func (m *Machine) flags() heartbeat.Flags {
	var f heartbeat.Flags
	set := func(on bool, flag heartbeat.Flags) {
		if on {
			f |= flag
		}
	}
	set(m.serving, heartbeat.Serving)
	set(m.stance == following, heartbeat.Following)
	set(m.stance == acked, heartbeat.Acked)
	set(m.stance == yielded, heartbeat.Yielded)
	set(m.leaving(), heartbeat.Leaving)
	set(m.left, heartbeat.Left)
	set(m.conflicted, heartbeat.Conflicted)
	set(m.clashing, heartbeat.Clashing)
	set(m.tables != nil && m.tables.Digest != digestOf(m.inForce), heartbeat.TablesOffered)
	set(m.admin == Drained, heartbeat.Draining)
	set(m.traffic.Evict, heartbeat.Evict)
	return f
}

// cause returns why the host is converging.
func (m *Machine) cause() Cause {
	if m.stance == following || m.stance == acked {
		return m.pending.cause
	}
	return m.committed.cause
}

// pacer limits heartbeats between the periodic ones, so that two hosts that answer each other for ever do not flood the link.
type pacer struct {
	credit int
	since  time.Duration
}

const (
	pacerBurst = 24
	// pacerRefill heartbeats are earned per period.
	pacerRefill = 12
)

func (p *pacer) fill(now time.Duration) { p.credit, p.since = pacerBurst, now }

// take spends one heartbeat if there is credit.
func (p *pacer) take(now, period time.Duration) bool {
	step := period / pacerRefill
	if earned := int((now - p.since) / step); earned > 0 {
		p.credit = min(pacerBurst, p.credit+earned)
		p.since += time.Duration(earned) * step
	}
	if p.credit == 0 {
		return false
	}
	p.credit--
	return true
}

// next is when there is credit again.
func (p *pacer) next(period time.Duration) time.Duration { return p.since + period/pacerRefill }

// output decides what to send and what the filter does, after the state has settled.
func (m *Machine) output() Output {
	m.report.update(m)
	m.self.State, m.self.Phase = uint8(m.report.view.State), phaseOf(m.report.view.State)
	var out Output
	retry := never
	switch {
	case m.left && m.goodbyes == 0, m.unplugged:
	case m.now >= m.nextSend:
		out.Send = m.emit()
	case m.sent == nil || !sameState(m.sent, m.self):
		if m.credit.take(m.now, m.period) {
			out.Send = m.emit()
		} else {
			retry = m.credit.next(m.period)
		}
	}
	m.wake = min(m.deadline(), retry)
	m.fillIn(&out)
	return out
}

// unchanged is the output of a step in which nothing happened.
func (m *Machine) unchanged() Output {
	out := Output{Wake: m.wake, Decision: m.decision, View: m.report.view, Left: m.left, HoldReady: m.holdReady()}
	return out
}

// fillIn completes the output.
func (m *Machine) fillIn(out *Output) {
	d := m.decide()
	lease := d.LeaseUntil
	d.LeaseUntil = m.decision.LeaseUntil
	out.DecisionChanged = d != m.decision
	out.LeaseChanged = lease != d.LeaseUntil
	d.LeaseUntil = lease
	m.decision = d
	m.idle = without(&m.idle, &d.Accept)
	out.Wake, out.Decision = m.wake, d
	out.View, out.ViewChanged = m.report.view, m.report.take()
	out.Transitions = m.report.drain()
	out.Left, out.HoldReady = m.left, m.holdReady()
}

func phaseOf(s State) heartbeat.Phase {
	if s == StateConverged || s == StateDraining {
		return heartbeat.PhaseConverged
	}
	return heartbeat.PhaseConverging
}

// emit returns the heartbeat to send now.
func (m *Machine) emit() *heartbeat.Message {
	m.sequence++
	h := m.self
	h.Sequence = m.sequence
	h.PacketsHandled, h.SYNs, h.Handshakes = m.traffic.PacketsHandled, m.traffic.SYNs, m.traffic.Handshakes
	m.sent = h
	m.holdSent = m.holdSent || h.HoldMillis != 0
	m.priorLease = m.leaseUntil
	m.lastSend, m.leaseUntil, m.hasSent = m.now, m.now+m.lease(), true
	m.nextSend = m.now + m.interval()
	if m.left {
		m.goodbyes--
		m.nextSend = m.now + m.period/2
		m.hasSent = false
	}
	return h
}

// unsent takes back that the last heartbeat was sent.
func (m *Machine) unsent() {
	m.leaseUntil = min(m.leaseUntil, max(m.priorLease, m.now))
	m.nextSend = min(m.nextSend, m.now+m.period/4)
	m.holdSent = false
}

// interval is the time to the next periodic heartbeat: shorter while a round is under way, so that a lost one costs little.
func (m *Machine) interval() time.Duration {
	if m.stance == following || m.stance == acked || m.stance == yielded || m.lead.lagging {
		return m.period / 4
	}
	return m.period
}

// decide returns the state of the filter.
func (m *Machine) decide() Decision {
	d := Decision{Epoch: m.committed.id.Number, Policy: digestOf(m.inForce)}
	if m.inForce != nil {
		d.PolicyGeneration = m.inForce.Generation
	}
	if !m.serving || !m.hasSent {
		return d
	}
	d.LeaseUntil = m.leaseEnd()
	var busy bucket.Table
	for id := range each(m.live) {
		msg := m.peers[id].msg
		for i := range busy {
			busy[i] |= bucket.All.Minus(msg.Idle[i])
		}
	}
	for i := range d.Accept {
		d.Accept[i] = m.accept[i].Minus(m.masked[i])
		d.Busy[i] = busy[i] & d.Accept[i]
	}
	return d
}

// deadline is the next time at which something happens without a heartbeat from a peer.
func (m *Machine) deadline() time.Duration {
	if m.left && m.goodbyes == 0 {
		return never
	}
	t := m.nextSend
	if m.unplugged {
		t = never
	}
	for id := range each(m.live) {
		t = min(t, m.expiry(&m.peers[id]))
		if p := &m.peers[id]; !m.mutual.Has(id) {
			t = min(t, future(m.now, p.unlistedSince+m.timeout(), p.unlistedSince+2*m.timeout()))
		}
		t = min(t, future(m.now, m.peers[id].refusedUntil))
	}
	for id := range m.rivals {
		if r := &m.rivals[id]; r.msg != nil {
			t = min(t, future(m.now, r.heardAt+m.patience(r.msg)))
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

// setIdle takes the buckets without tracked connections. In those that the filter accepted meanwhile there may be new ones: they are
// idle only after a look that began when they were accepted no more, whatever took them away.
func (m *Machine) setIdle(t bucket.Table) { m.idle = without(&t, &m.decision.Accept) }

func without(t, accepted *bucket.Table) bucket.Table {
	var out bucket.Table
	for i := range out {
		out[i] = t[i].Minus(accepted[i])
	}
	return out
}
