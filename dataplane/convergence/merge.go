// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// detectMerge gives up this host's buckets where it is in contact with a group that serves without
// it and takes precedence.
func (m *Machine) detectMerge() {
	m.endExclusion()
	if !m.enforced(ruleYield) {
		return
	}
	for id := range each(m.live) {
		p := &m.peers[id]
		if !m.inOtherPartition(p.msg) || !m.mutual.Has(id) {
			p.merging = false
			continue
		}
		if !p.merging {
			p.merging = true
			m.report.merge(m, id)
		}
		if m.serving() && m.ranksBelow(p.msg) {
			m.exclude("host %d serves with %v under leader %d, without this host", id, list(p.msg.View), p.msg.Leader)
		}
	}
	if m.serving() && m.unheard() {
		m.exclude("peers are heard and do not hear this host")
	}
}

// exclude fences this host because live peers serve without it, and reports why.
func (m *Machine) exclude(format string, args ...any) {
	m.service = serviceExcluded
	m.fence()
	m.report.transition(TransitionExcluded, m.s.HostID, format, args...)
}

// inOtherPartition reports whether this host and a peer serve by rounds that were committed apart,
// as both sides of a partition do. They are in the same partition if the newer of the two rounds
// was agreed with the host that is at the older one.
func (m *Machine) inOtherPartition(msg *heartbeat.Message) bool {
	if !m.serving() || msg.Flags&heartbeat.Serving == 0 {
		return false
	}
	if m.committed.id.After(msg.Committed) {
		// A member that restarted since, and serves by an older round, does not know of this one.
		c := &m.committed
		id := msg.HostID
		return !c.view.Has(id) || c.keys[id] != msg.HostKey || c.incarnations[id] != msg.Incarnation
	}
	// This host acknowledged every round that it is a member of. A later one with its ID in the
	// view means another host with that ID, or this one before it restarted. Equal rounds may be
	// two, too, where hosts share the leader's ID.
	return !msg.View.Has(m.s.HostID) || msg.Committed.After(m.lastAcked)
}

// ranksBelow reports whether this host's group gives up its buckets to the peer's: that with the
// higher leader, else the older round, else the higher host ID. Both sides come to the same result.
func (m *Machine) ranksBelow(msg *heartbeat.Message) bool {
	theirs := cmp.Or(msg.Leader, msg.HostID)
	return cmp.Or(
		cmp.Compare(m.rank(), theirs),
		cmp.Compare(msg.Committed.Number, m.committed.id.Number),
		cmp.Compare(m.s.HostID, msg.HostID),
	) > 0
}

// rank is the leader by which this host compares its group with others: itself while it follows
// nobody.
func (m *Machine) rank() uint8 {
	if m.leader == 0 {
		return m.s.HostID
	}
	return m.leader
}

// unheard reports whether this host is mute: no peer lists it, and one that serves stopped listing
// it, or has not listed it for a timeout. A host that any peer lists is not mute; those that do not
// list it are deaf.
func (m *Machine) unheard() bool {
	if m.mutual != 0 {
		return false
	}
	for id := range each(m.servingPeers()) {
		if p := &m.peers[id]; p.listed || m.now >= p.unlistedSince+m.timeout() {
			return true
		}
	}
	return false
}

// endExclusion ends the exclusion once every peer that serves is heard mutually and has this host
// in its view.
func (m *Machine) endExclusion() {
	if m.service != serviceExcluded {
		return
	}
	for id := range each(m.servingPeers()) {
		if !m.peers[id].msg.View.Has(m.s.HostID) || !m.mutual.Has(id) {
			return
		}
	}
	m.service = serviceNone
}
