// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// leadership is the state that only a leader has.
type leadership struct {
	// view and policy of the next round.
	view   heartbeat.Set
	policy uint64
	// unlinked are hosts that could be members but for missing links; the set is unchanged since
	// unlinkedSince.
	unlinked      heartbeat.Set
	unlinkedSince time.Duration
	// dueSince is when a round became due that could not be proposed yet, if isDue.
	dueSince time.Duration
	isDue    bool
	// lagging: members acknowledged the committed round and do not say that they committed it, since
	// lagSince.
	lagging  bool
	lagSince time.Duration
	// bumpAt is when the leader may replace a round that was superseded.
	bumpAt time.Duration
	// wake is when the leader has to look again, even if nothing is heard.
	wake time.Duration
}

// plan selects view and policy of the next round.
func (l *leadership) plan(m *Machine) {
	view := m.candidates(0)
	policy := m.choosePolicy(view)
	view = m.candidates(policy)
	if better := m.choosePolicy(view); better != policy && m.candidates(better) == view {
		policy = better
	}
	l.view, l.policy = view.With(m.s.HostID), policy
	if u := m.unlinked(l.view, policy); u != l.unlinked {
		l.unlinked, l.unlinkedSince = u, m.now
	}
}

// wakeAt has Step called no later than t.
func (l *leadership) wakeAt(t time.Duration) { l.wake = min(l.wake, t) }

// propose starts a round if one is due, and replaces it by another one if the facts that it was
// computed from have changed.
func (m *Machine) propose() bool {
	l := &m.lead
	l.wake = never
	mine := m.inRound() && m.promise.Leader == m.s.HostID
	cause := m.dueCause(mine)
	if cause == CauseNone {
		l.isDue = false
		return false
	}
	if !l.isDue {
		l.isDue, l.dueSince = true, m.now
	}
	if !m.settled() {
		return false
	}
	inputs, _, ok := m.inputsOf(l.view, l.policy)
	policy := m.held(l.policy)
	if !ok || policy == nil {
		l.wakeAt(l.dueSince + m.timeout())
		if m.now >= l.dueSince+m.timeout() {
			m.refuse(func(msg *heartbeat.Message) bool { return advertisedDigest(msg) == l.policy })
			l.isDue = false
		}
		return false
	}
	if mine && inputs == m.pending.inputs && m.pending.view == l.view && !m.superseded() {
		return m.wait()
	}
	m.highest++
	m.promise = heartbeat.Round{Number: m.highest, Leader: m.s.HostID}
	since := m.now
	if mine && m.pending.view == l.view {
		since = m.pending.since
	}
	m.role = roleFollowing
	m.pending = round{
		id: m.promise, view: l.view, inputs: inputs, result: m.assign(l.view, policy).digest,
		cause: cause, since: since,
	}
	l.bumpAt = m.now + m.period/4 + m.period/4*time.Duration(m.s.HostID)/heartbeat.MaxHosts
	return true
}

// settled reports whether the leader has listened long enough for the view that it selected: alone
// a full timeout; with hosts that do not serve either, a period and a half; and a period where
// hosts are left out for links that may just not be known yet.
func (m *Machine) settled() bool {
	l := &m.lead
	until := time.Duration(0)
	if !m.serving() && !m.anyServing(l.view) {
		until = m.listenUntil
		if l.view != heartbeat.SetOf(m.s.HostID) {
			until = min(until, m.startedAt+m.period*3/2)
		}
	}
	leftOut := l.unlinked
	if m.serving() {
		leftOut &= m.committed.view | m.servingPeers()
	}
	if leftOut != 0 {
		until = max(until, l.unlinkedSince+m.period)
	}
	if m.now >= until {
		return true
	}
	l.wakeAt(until)
	return false
}

// superseded reports whether the pending round cannot be committed any more and needs a higher
// number: a host took part in a later one, a member gave it up, or took part in a round of this
// number that another host with the leader's ID proposed.
func (m *Machine) superseded() bool {
	lost := m.highest > m.promise.Number
	for id := range each(m.live) {
		msg := m.peers[id].msg
		lost = lost || msg.Round.After(m.promise)
		if msg.Round != m.promise || msg.Committed == m.promise {
			continue
		}
		gone := m.pending.view.Has(id) && msg.Flags&active == 0
		lost = lost || gone || msg.RoundInputs != m.pending.inputs
	}
	if !lost {
		return false
	}
	if m.now >= m.lead.bumpAt {
		return true
	}
	m.lead.wakeAt(m.lead.bumpAt)
	return false
}

// wait gives the members a timeout to acknowledge, then goes on without those that did not. It
// reports whether the view changed by that.
func (m *Machine) wait() bool {
	deadline := m.pending.since + m.timeout()
	if m.now < deadline {
		m.lead.wakeAt(deadline)
		return false
	}
	m.refuse(func(msg *heartbeat.Message) bool {
		sameRound := msg.Round == m.promise && msg.RoundInputs == m.pending.inputs
		return sameRound && (msg.Flags&heartbeat.Acked != 0 || msg.Committed == m.promise)
	})
	m.pending.since = m.now
	m.lead.plan(m)
	return m.lead.view != m.pending.view
}

// refuse keeps those members of the planned view out for two timeouts whose heartbeat is not good.
func (m *Machine) refuse(good func(*heartbeat.Message) bool) {
	for id := range each(m.lead.view.Without(m.s.HostID)) {
		if p := &m.peers[id]; !good(p.msg) {
			p.refusedUntil = m.now + 2*m.timeout()
		}
	}
}
