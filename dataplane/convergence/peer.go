// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"iter"
	"math/bits"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// peer is what is known of the host with one ID.
type peer struct {
	msg     *heartbeat.Message // the newest heartbeat; nil if there was none
	heardAt time.Duration
	// since is when the peer came to life, listed whether it named this host in its heard mask since then,
	// unlistedSince when it last stopped doing so or came to life without.
	since         time.Duration
	listed        bool
	unlistedSince time.Duration
	// refusedUntil keeps a peer out that did not acknowledge in time.
	refusedUntil time.Duration
	digest       memberDigest
	merging      bool
}

// rival is a host that claims an ID that another has.
type rival struct {
	msg     *heartbeat.Message
	heardAt time.Duration
}

// each yields the IDs in s in ascending order.
func each(s heartbeat.Set) iter.Seq[uint8] {
	return func(yield func(uint8) bool) {
		for ; s != 0; s &= s - 1 {
			if !yield(uint8(bits.TrailingZeros32(uint32(s))) + 1) {
				return
			}
		}
	}
}

// receive takes a heartbeat and reports whether it says anything new.
func (m *Machine) receive(msg *heartbeat.Message) bool {
	if msg.ClusterIP != m.s.ClusterIP || msg.ClusterKey != m.s.ClusterKey || msg.HostID == 0 || msg.HostID > heartbeat.MaxHosts {
		return false
	}
	if r := m.rivals[msg.HostID].msg; r != nil && r.HostKey == msg.HostKey && !newer(msg, r) {
		return false
	}
	if msg.HostID == m.s.HostID {
		return m.receiveOwnID(msg)
	}
	p := &m.peers[msg.HostID]
	old := p.msg
	if old != nil && old.HostKey != msg.HostKey {
		if m.live.Has(msg.HostID) && (m.reliesOn(old) || !m.outranks(msg, old)) {
			return m.noteRival(msg)
		}
		if m.live.Has(msg.HostID) {
			m.noteRival(old)
		}
		m.forget(msg.HostID)
		old = nil
	}
	if old != nil && !newer(msg, old) {
		return false
	}
	if old != nil && msg.Incarnation != old.Incarnation {
		m.forget(msg.HostID)
		old = nil
	}
	return m.update(p, old, msg)
}

// newer reports whether a host sent a after b.
func newer(a, b *heartbeat.Message) bool {
	return a.Incarnation > b.Incarnation || a.Incarnation == b.Incarnation && a.Sequence > b.Sequence
}

// update stores a peer's newest heartbeat and reports whether it says anything new.
func (m *Machine) update(p *peer, old, msg *heartbeat.Message) bool {
	p.msg, p.heardAt = msg, m.now
	lists := msg.Heard.Has(m.s.HostID)
	revived := !m.live.Has(msg.HostID) && msg.Flags&heartbeat.Left == 0
	if revived {
		m.live = m.live.With(msg.HostID)
		p.since, p.unlistedSince, p.listed = m.now, m.now, false
	}
	if p.listed && !lists && old != nil && old.Heard.Has(m.s.HostID) {
		p.unlistedSince = m.now
	}
	p.listed = p.listed || lists
	m.highest = max(m.highest, msg.Highest, msg.Round.Number, msg.Committed.Number)
	if !revived && old != nil && sameState(old, msg) {
		return false
	}
	p.digest.valid = false
	return true
}

// forget drops what was known of a host, whose ID now is another incarnation or host.
func (m *Machine) forget(id uint8) {
	m.peers[id] = peer{}
	m.live = m.live.Without(id)
	m.mutual = m.mutual.Without(id)
}

// sameState reports whether two heartbeats of one incarnation say the same, but for counters.
func sameState(a, b *heartbeat.Message) bool {
	return a.Flags == b.Flags && a.Heard == b.Heard && a.Committed == b.Committed && a.Round == b.Round &&
		a.View == b.View && a.RoundView == b.RoundView && a.RoundInputs == b.RoundInputs && a.RoundResult == b.RoundResult &&
		a.Highest == b.Highest && a.InForce == b.InForce && a.Offered == b.Offered && a.Leader == b.Leader &&
		a.State == b.State && a.StallReason == b.StallReason && a.TimeoutMillis == b.TimeoutMillis &&
		(a.HoldMillis != 0) == (b.HoldMillis != 0) && a.HoldsHeard == b.HoldsHeard && a.Cause == b.Cause && a.RuleCount == b.RuleCount &&
		a.Ready == b.Ready && a.Current == b.Current && a.New == b.New && a.Idle == b.Idle && a.Rules == b.Rules && a.Weights == b.Weights
}

// expiry is when a peer counts as lost unless it is heard again. Both sides' timeouts are honoured, for they may differ while
// a new config spreads, and so is an announced silence.
func (m *Machine) expiry(p *peer) time.Duration {
	return p.heardAt + m.patience(p.msg)
}

// patience is how long the sender of a heartbeat counts as alive after it.
func (m *Machine) patience(msg *heartbeat.Message) time.Duration {
	return max(m.timeout(), time.Duration(max(msg.TimeoutMillis, min(msg.HoldMillis, maxHoldMillis)))*time.Millisecond)
}

// expire drops peers that fell silent or left, and finds those that hear this host.
func (m *Machine) expire() {
	m.mutual = 0
	for id := range each(m.live) {
		p := &m.peers[id]
		member := m.committed.view.Has(id) && m.serving
		switch {
		case p.msg.Flags&heartbeat.Left != 0:
			m.live = m.live.Without(id)
			m.report.departed(m, id, member, TransitionMemberLeft, "left the cluster")
		case m.now >= m.expiry(p):
			m.live = m.live.Without(id)
			m.report.departed(m, id, member, TransitionMemberLost, "was not heard for %v", m.now-p.heardAt)
		case p.msg.Heard.Has(m.s.HostID):
			m.mutual = m.mutual.With(id)
		}
	}
	for id := range m.rivals {
		if r := &m.rivals[id]; r.msg != nil && m.now >= r.heardAt+m.patience(r.msg) {
			*r = rival{}
		}
	}
}

// outranks decides between two hosts that claim one ID, neither of them this host. The established one keeps it.
func (m *Machine) outranks(a, b *heartbeat.Message) bool {
	if as, bs := a.Flags&heartbeat.Serving != 0, b.Flags&heartbeat.Serving != 0; as != bs {
		return as
	}
	if (a.Flags^b.Flags)&heartbeat.Conflicted != 0 {
		return b.Flags&heartbeat.Conflicted != 0
	}
	return a.HostKey < b.HostKey
}

// reliesOn reports whether the sender is a fellow member: another host with its ID does not make its buckets free.
func (m *Machine) reliesOn(msg *heartbeat.Message) bool {
	c := &m.committed
	return m.serving && msg.Flags&heartbeat.Conflicted == 0 && c.view.Has(msg.HostID) && c.keys[msg.HostID] == msg.HostKey
}

// noteRival remembers a host whose ID belongs to another.
func (m *Machine) noteRival(msg *heartbeat.Message) bool {
	r := &m.rivals[msg.HostID]
	isNew := r.msg == nil || r.msg.HostKey != msg.HostKey || r.msg.Flags != msg.Flags || r.msg.Ready != msg.Ready || m.now >= r.heardAt+m.patience(r.msg)
	*r = rival{msg: msg, heardAt: m.now}
	return isNew
}

// receiveOwnID takes a heartbeat that carries this host's ID.
func (m *Machine) receiveOwnID(msg *heartbeat.Message) bool {
	if msg.HostKey == m.s.HostKey && msg.Incarnation <= m.s.Incarnation || msg.Flags&heartbeat.Left != 0 {
		return false
	}
	return m.noteRival(msg)
}

// heedRival makes the host stand back while another one with its ID is established.
func (m *Machine) heedRival() {
	r := &m.rivals[m.s.HostID]
	was := m.conflicted
	m.conflicted = false
	if r.msg == nil {
		return
	}
	me := &heartbeat.Message{Extension: heartbeat.Extension{HostKey: m.s.HostKey}}
	if m.serving {
		me.Flags |= heartbeat.Serving
	}
	if was {
		me.Flags |= heartbeat.Conflicted
	}
	other := *r.msg
	if other.HostKey == m.s.HostKey { // a second agent on this node, started later
		m.conflicted = true
	} else {
		m.conflicted = m.outranks(&other, me)
	}
	if m.conflicted && (m.serving || m.stance == following || m.stance == acked) {
		m.release()
	}
}
