// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// reporter keeps what the host reports about itself.
type reporter struct {
	view        *View
	changed     bool
	transitions []Transition
	converging  bool
	cause       Cause
	started     time.Duration
	finished    time.Duration
	count       int
	conflicts   []Conflict
	mergedAt    time.Duration
	merged      bool
}

// list renders a set of IDs as NLB prints members.
func list(s heartbeat.Set) string {
	var b strings.Builder
	for id := range each(s) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%d", id)
	}
	return b.String()
}

// transition adds a Transition to the next Output.
func (r *reporter) transition(kind TransitionKind, host uint8, format string, args ...any) {
	r.transitions = append(r.transitions, Transition{Kind: kind, Host: host, Message: fmt.Sprintf(format, args...)})
}

// peerGone reports that a peer is gone, if it was a member.
func (r *reporter) peerGone(m *Machine, id uint8, member bool, kind TransitionKind, format string, args ...any) {
	if !member {
		return
	}
	if kind == TransitionMemberLeft {
		r.startConverging(m, CauseMemberLeft)
	} else {
		r.startConverging(m, CauseMemberLost)
	}
	r.transition(kind, id, "host %d %s", id, fmt.Sprintf(format, args...))
}

// merge reports contact with another partition, at most once in ten timeouts (Microsoft KB Q247719:
// no event storms).
func (r *reporter) merge(m *Machine, id uint8) {
	if r.merged && m.now < r.mergedAt+10*m.timeout() {
		return
	}
	r.merged, r.mergedAt = true, m.now
	r.transition(TransitionPartitionMerged, id,
		"Duplicate cluster subnets detected. The network may have been inadvertently partitioned. "+
			"Host %d serves with %s while this host serves with %s",
		id, list(m.peers[id].msg.View), list(m.committed.view))
}

// startConverging reports that the host started to converge.
func (r *reporter) startConverging(m *Machine, cause Cause) {
	if r.converging {
		if r.cause == CauseNone || r.cause == CauseUnknown {
			r.cause = cause
		}
		return
	}
	r.converging, r.cause, r.started, r.finished = true, cause, m.now, 0
	r.count++
	r.transition(TransitionConverging, m.s.HostID, "converging: %s", cause)
}

// roundCommitted reports a commit, and who joined by it.
func (r *reporter) roundCommitted(m *Machine, before heartbeat.Set) {
	r.startConverging(m, m.committed.cause)
	r.cause = m.committed.cause
	for id := range each(m.committed.view &^ before) {
		if id != m.s.HostID {
			r.transition(TransitionMemberJoined, id, "host %d joined", id)
		}
	}
}

// converged reports whether all members committed the same round and nothing is under way.
func (m *Machine) converged() bool {
	if !m.serving() || m.inRound() || m.leaving() {
		return false
	}
	if m.leader == m.s.HostID && m.lead.isDue {
		return false
	}
	members := m.committed.view.Without(m.s.HostID)
	if members&^m.mutual != 0 {
		return false
	}
	for id := range each(members) {
		if msg := m.peers[id].msg; msg.Committed != m.committed.id || msg.Flags&heartbeat.Serving == 0 {
			return false
		}
	}
	return true
}

// state returns the state to report.
func (m *Machine) state() State {
	switch {
	case m.stopped() && m.admin == Suspended:
		return StateSuspended
	case m.stopped():
		return StateStopped
	case m.leaving():
		return StateLeaving
	case m.noCarrier:
		return StateDisconnected
	case m.dispute != disputeNone:
		return StateConverging
	case m.service == serviceExcluded || m.role == roleYielded && !m.serving() && m.anyServing(m.mutual):
		return StateExcluded
	case !m.converged():
		return StateConverging
	case m.admin == Drained:
		return StateDraining
	default:
		return StateConverged
	}
}

// update brings the view up to date.
func (r *reporter) update(m *Machine) {
	state := m.state()
	switch {
	case m.stopped(), state == StateDisconnected:
		r.converging = false
	case state == StateConverged || state == StateDraining:
		r.finishConverging(m)
	default:
		r.startConverging(m, m.reason())
	}
	r.updateConflicts(m)
	for _, c := range r.conflicts {
		if r.converging && c.Keys[1] == m.s.HostKey {
			r.cause = c.Reason // for as long as it lasts, whatever began it
			break
		}
	}
	v := View{
		State: state, Members: m.mutual.With(m.s.HostID), Committed: m.committed.view, Heard: m.live,
		Default: m.defaultHost(), Epoch: m.committed.id.Number, Leader: m.leader,
		Cause: r.cause, Started: r.started, Finished: r.finished, Convergences: r.count, Conflicts: r.conflicts,
	}
	if m.stopped() || state == StateDisconnected {
		v.Members = heartbeat.SetOf(m.s.HostID)
	}
	if m.serving() {
		v.Own = m.committed.table
	}
	v.Keys[m.s.HostID] = m.s.HostKey
	if m.inForce != nil {
		v.PolicyInForce = m.inForce.Generation
	}
	if m.offered != nil {
		v.PolicyOffered = m.offered.Generation
	}
	for id := range each(m.live) {
		v.Stalled[id], v.Keys[id] = m.peers[id].msg.StallReason, m.peers[id].msg.HostKey
	}
	if !sameView(r.view, &v) {
		r.view, r.changed = &v, true
	}
}

// defaultHost returns the owner of the default slot, 0 if this host does not take part.
func (m *Machine) defaultHost() uint8 {
	if !m.serving() {
		return 0
	}
	return m.committed.defaultOwner
}

// reason returns why the host is not converged, as far as it knows.
func (m *Machine) reason() Cause {
	switch {
	case m.dispute == disputeHostID:
		return CauseDuplicateHostID
	case m.dispute == disputePriority:
		return CauseBadConfig
	case m.inRound():
		return m.pending.cause
	case m.committed.id.IsZero():
		return CauseNewMember
	default:
		return CauseUnknown
	}
}

// finishConverging reports that the host converged.
func (r *reporter) finishConverging(m *Machine) {
	if !r.converging {
		return
	}
	r.converging, r.finished = false, m.now
	r.transition(TransitionConverged, m.s.HostID, "converged with host(s) %s, epoch %d, after %v",
		list(m.committed.view), m.committed.id.Number, m.now-r.started)
}

// take reports once whether the view changed.
func (r *reporter) take() bool {
	changed := r.changed
	r.changed = false
	return changed
}

// drain returns the transitions since the last call.
func (r *reporter) drain() []Transition {
	out := r.transitions
	r.transitions = nil
	return out
}

func sameView(a, b *View) bool {
	x, y := *a, *b
	same := slices.Equal(x.Conflicts, y.Conflicts)
	x.Conflicts, y.Conflicts = nil, nil
	return same && x.State == y.State && x.Members == y.Members && x.Committed == y.Committed && x.Heard == y.Heard &&
		x.Default == y.Default && x.Epoch == y.Epoch && x.Leader == y.Leader && x.Own == y.Own && x.Cause == y.Cause &&
		x.Started == y.Started && x.Finished == y.Finished && x.Convergences == y.Convergences &&
		x.PolicyInForce == y.PolicyInForce && x.PolicyOffered == y.PolicyOffered &&
		x.Stalled == y.Stalled && x.Keys == y.Keys
}
