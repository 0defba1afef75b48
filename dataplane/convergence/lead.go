// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// leadership is what only the leader keeps.
type leadership struct {
	// view and policy are what the next round shall have.
	view   heartbeat.Set
	policy uint64
	// bystanders are hosts that could be members but for missing links; their set is the same since bystandersSince.
	bystanders      heartbeat.Set
	bystandersSince time.Duration
	// wantSince is when a round became due that could not be proposed yet.
	wantSince time.Duration
	wanting   bool
	// laggards acknowledged the committed round but do not say that they committed it.
	lagging  bool
	lagSince time.Duration
	// bumpAt is when the leader may replace a round that others outran.
	bumpAt time.Duration
	// wake is the next time at which the leader has to look again.
	wake time.Duration
}

// plan decides on view and policy of the next round.
func (l *leadership) plan(m *Machine) {
	view := m.candidates(0)
	policy := m.choosePolicy(view)
	view = m.candidates(policy)
	if better := m.choosePolicy(view); better != policy && m.candidates(better) == view {
		policy = better
	}
	l.view, l.policy = view.With(m.s.HostID), policy
	if by := m.bystanders(l.view, policy); by != l.bystanders {
		l.bystanders, l.bystandersSince = by, m.now
	}
}

// propose starts a round if one is due and gives it up if what it was computed from has changed.
func (m *Machine) propose() bool {
	l := &m.lead
	l.wake = never
	mine := (m.stance == following || m.stance == acked) && m.promise.Leader == m.s.HostID
	cause := m.due(mine)
	if cause == CauseNone {
		l.wanting = false
		return false
	}
	if !l.wanting {
		l.wanting, l.wantSince = true, m.now
	}
	if !m.settled() {
		return false
	}
	inputs, _, ok := m.inputsOf(l.view, l.policy)
	policy := m.held(l.policy)
	if !ok || policy == nil {
		l.wakeAt(l.wantSince + m.timeout())
		if m.now >= l.wantSince+m.timeout() {
			m.refuse(func(msg *heartbeat.Message) bool { return tablesDigest(msg) == l.policy })
			l.wanting = false
		}
		return false
	}
	if mine && inputs == m.pending.inputs && m.pending.view == l.view && !m.outrun() {
		return m.wait()
	}
	m.highest++
	m.promise = heartbeat.Round{Number: m.highest, Leader: m.s.HostID}
	since := m.now
	if mine && m.pending.view == l.view {
		since = m.pending.since
	}
	m.stance = following
	m.pending = round{
		id: m.promise, view: l.view, inputs: inputs, result: m.assign(l.view, policy).digest, cause: cause, since: since,
	}
	l.bumpAt = m.now + m.period/4 + m.period/4*time.Duration(m.s.HostID)/heartbeat.MaxHosts
	return true
}

// due returns why a round is needed, CauseNone if the committed one still fits.
func (m *Machine) due(mine bool) Cause {
	l := &m.lead
	if mine {
		return m.pending.cause
	}
	old := &m.committed
	switch {
	case !m.serving:
		return CauseNewMember
	case l.view&^old.view != 0:
		return CauseNewMember
	case l.view != old.view:
		return m.lossCause(old.view &^ l.view)
	case l.policy != digestOf(m.inForce):
		return CauseModifiedRules
	}
	if _, config, ok := m.inputsOf(l.view, l.policy); !ok || config != old.config {
		return m.configCause()
	}
	return m.laggards()
}

// lossCause tells a leave, and a host that stays out for its config, from a loss.
func (m *Machine) lossCause(gone heartbeat.Set) Cause {
	cause := CauseMemberLeft
	for id := range each(gone) {
		msg := m.peers[id].msg
		switch {
		case msg == nil || msg.Flags&(heartbeat.Leaving|heartbeat.Left|heartbeat.Clashing) == 0:
			return CauseMemberLost
		case msg.Flags&heartbeat.Clashing != 0:
			cause = CauseBadConfig
		}
	}
	return cause
}

// configCause tells a restarted member from changed parameters.
func (m *Machine) configCause() Cause {
	for id := range each(m.committed.view.Without(m.s.HostID)) {
		if msg := m.peers[id].msg; msg != nil && msg.Committed.IsZero() {
			return CauseNewMember
		}
	}
	return CauseModifiedParams
}

// laggards finds members that do not have the committed round: those that gave it up, or released
// buckets for a round that nobody leads any more, need a new round at once, those that
// may only not have heard of it after a while.
func (m *Machine) laggards() Cause {
	if m.stance == acked || m.stance == aside && m.accept != m.committed.table { // for a round of a leader that is gone, or leads no more
		return CauseUnknown
	}
	l, lagging := &m.lead, false
	for id := range each(m.committed.view.Without(m.s.HostID)) {
		msg := m.peers[id].msg
		elsewhere := msg.Flags&active != 0 && msg.Round != m.committed.id
		switch {
		case elsewhere && msg.Leader == m.s.HostID:
			return CauseUnknown
		case elsewhere:
			lagging = true
		case msg.Flags&active == 0 && msg.Committed == m.committed.id && msg.Ready != msg.Current:
			return CauseUnknown
		case msg.Committed == m.committed.id && msg.Flags&heartbeat.Serving != 0:
		case msg.Round == m.committed.id && msg.Flags&heartbeat.Acked != 0, m.committed.id.After(msg.Round):
			lagging = true
		default:
			return CauseUnknown
		}
	}
	if lagging && !l.lagging {
		l.lagSince = m.now
	}
	l.lagging = lagging
	if !lagging {
		return CauseNone
	}
	if m.now >= l.lagSince+2*m.period {
		return CauseUnknown
	}
	l.wakeAt(l.lagSince + 2*m.period)
	return CauseNone
}

// settled reports whether the leader has listened long enough for the view it wants: a host alone for a full timeout, hosts that
// find each other for a period and a half, and a period for links that may only not be known yet.
func (m *Machine) settled() bool {
	l := &m.lead
	until := time.Duration(0)
	if !m.serving && !m.anyServing(l.view) {
		until = m.listenUntil
		if l.view != heartbeat.SetOf(m.s.HostID) {
			until = min(until, m.startedAt+m.period*3/2)
		}
	}
	shut := l.bystanders
	if m.serving {
		shut &= m.committed.view | m.servingPeers()
	}
	if shut != 0 {
		until = max(until, l.bystandersSince+m.period)
	}
	if m.now >= until {
		return true
	}
	l.wakeAt(until)
	return false
}

// outrun reports whether the pending round has become hopeless and needs a higher number: somebody has promised himself to a later
// one, be it of the same number under a higher leader, a member gave it up, or took part in another round of the same number, by another host with this ID.
func (m *Machine) outrun() bool {
	hopeless := m.highest > m.promise.Number
	for id := range each(m.live) {
		msg := m.peers[id].msg
		hopeless = hopeless || msg.Round.After(m.promise)
		if msg.Round != m.promise || msg.Committed == m.promise {
			continue
		}
		gone := m.pending.view.Has(id) && msg.Flags&active == 0
		hopeless = hopeless || gone || msg.RoundInputs != m.pending.inputs
	}
	if !hopeless {
		return false
	}
	if m.now >= m.lead.bumpAt {
		return true
	}
	m.lead.wakeAt(m.lead.bumpAt)
	return false
}

// wait gives the members a timeout to acknowledge, then goes on without those that did not.
func (m *Machine) wait() bool {
	deadline := m.pending.since + m.timeout()
	if m.now < deadline {
		m.lead.wakeAt(deadline)
		return false
	}
	m.refuse(func(msg *heartbeat.Message) bool {
		return msg.Round == m.promise && msg.RoundInputs == m.pending.inputs && (msg.Flags&heartbeat.Acked != 0 || msg.Committed == m.promise)
	})
	m.pending.since = m.now
	m.lead.plan(m)
	return m.lead.view != m.pending.view
}

// refuse keeps members out for two timeouts that do not do what they should.
func (m *Machine) refuse(good func(*heartbeat.Message) bool) {
	for id := range each(m.lead.view.Without(m.s.HostID)) {
		if p := &m.peers[id]; !good(p.msg) {
			p.refusedUntil = m.now + 2*m.timeout()
		}
	}
}

// wakeAt asks for another look no later than t.
func (l *leadership) wakeAt(t time.Duration) { l.wake = min(l.wake, t) }

// anyServing reports whether a peer in s serves.
func (m *Machine) anyServing(s heartbeat.Set) bool { return s&m.servingPeers() != 0 }

// servingPeers returns the live peers that serve.
func (m *Machine) servingPeers() heartbeat.Set {
	var out heartbeat.Set
	for id := range each(m.live) {
		if m.peers[id].msg.Flags&heartbeat.Serving != 0 {
			out = out.With(id)
		}
	}
	return out
}
