// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// meet gives up this host's buckets where it finds itself beside a group that serves without it, and has to stand back.
func (m *Machine) meet() {
	m.forgiveSuspension()
	if m.knobs.neverYield {
		return
	}
	for id := range each(m.live) {
		p := &m.peers[id]
		if !m.contradicts(p.msg) || !m.mutual.Has(id) {
			p.merging = false
			continue
		}
		if !p.merging {
			p.merging = true
			m.report.merge(m, id)
		}
		if m.serving && m.ranksBelow(p.msg) {
			m.stepBack("host %d serves with %v under leader %d, without this host", id, list(p.msg.View), p.msg.Leader)
		}
	}
	if m.serving && m.mute() {
		m.stepBack("peers are heard and do not hear this host")
	}
}

// stepBack releases everything and says why.
func (m *Machine) stepBack(format string, args ...any) {
	m.suspended = true
	m.release()
	m.report.transition(TransitionExcluded, m.s.HostID, format, args...)
}

// contradicts reports whether this host and a peer both serve, by rounds neither of which explains the other: the newer of the two
// leaves the older's host out.
func (m *Machine) contradicts(msg *heartbeat.Message) bool {
	if !m.serving || msg.Flags&heartbeat.Serving == 0 {
		return false
	}
	if m.committed.id.After(msg.Committed) {
		// A member that started again since, and serves by an older round, knows nothing of this one.
		return !m.committed.view.Has(msg.HostID) || m.committed.keys[msg.HostID] != msg.HostKey || m.committed.incarnations[msg.HostID] != msg.Incarnation
	}
	// What this host is a member of, it has agreed to; else its ID in the view means another host with that ID, or itself before
	// it started again. Of equal rounds, too, there are two where hosts have the leader's ID.
	return !msg.View.Has(m.s.HostID) || msg.Committed.After(m.agreedTo)
}

// ranksBelow decides which of two groups in contact stands back: the one with the higher leader, else the older round. The rule
// is the same seen from both sides.
func (m *Machine) ranksBelow(msg *heartbeat.Message) bool {
	theirs := cmp.Or(msg.Leader, msg.HostID)
	return cmp.Or(
		cmp.Compare(m.rank(), theirs),
		cmp.Compare(msg.Committed.Number, m.committed.id.Number),
		cmp.Compare(m.s.HostID, msg.HostID),
	) > 0
}

// mute reports whether peers that serve have stopped listing this host, or never did for a timeout, and nobody lists it. While
// somebody does, it is the others who are deaf.
func (m *Machine) mute() bool {
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

// forgiveSuspension ends the exclusion when no group that serves without this host is heard any more.
func (m *Machine) forgiveSuspension() {
	if !m.suspended {
		return
	}
	for id := range each(m.servingPeers()) {
		if !m.peers[id].msg.View.Has(m.s.HostID) || !m.mutual.Has(id) {
			return
		}
	}
	m.suspended = false
}

// mask takes out of the filter what a host of another group still accepts, until one of the two stood back.
func (m *Machine) mask() {
	m.masked = bucket.Table{}
	if m.knobs.neverYield || m.knobs.noMask {
		return
	}
	for id := range each(m.mutual) {
		if msg := m.peers[id].msg; m.contradicts(msg) {
			m.maskBy(msg)
		}
	}
	if r := m.rivals[m.s.HostID].msg; r != nil && m.serving && r.Flags&heartbeat.Serving != 0 {
		m.maskBy(r)
	}
}

// maskBy takes out what one other host accepts; everything if its slots mean other rules.
func (m *Machine) maskBy(msg *heartbeat.Message) {
	for i := range m.masked {
		m.masked[i] |= msg.Ready[i]
		if msg.InForce != digestOf(m.inForce) {
			m.masked[i] = bucket.All
		}
	}
}
