// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// reporter puts together what a host reports.
type reporter struct {
	configError error
	ended       string // why the agent ends, "" while it goes on
	sendError   error  // of the last heartbeat
	sample      sample
	verdict     stall.Verdict
	table       tableWatch
	rules       ruleCounters

	// status is built anew each time, but conditions keep their transition times.
	status *v1alpha1.LoadBalancingHostStatus
	// instants holds the wall clock of the few moments in a report, so that they do not
	// jitter from one report to the next.
	instants map[time.Duration]metav1.Time
}

func (r *reporter) build(m *member) *v1alpha1.LoadBalancingHostStatus {
	view, s := m.out.View, r.status
	r.table.size = m.offered.Connections
	hostGeneration := m.offered.Config.Host.Generation
	inForce := m.inForce
	if inForce == nil {
		inForce = m.offered
	}
	*s = v1alpha1.LoadBalancingHostStatus{
		Conditions:               s.Conditions,
		ObservedGeneration:       &hostGeneration,
		OfferedClusterGeneration: new(m.offered.Generation),
		State:                    hostCondition(view.State),
		Members:                  idsOf(membersOf(view)),
		Epoch:                    new(int64(view.Epoch)),
		Convergences:             new(int64(view.Convergences)),
		LastConvergence:          r.lastConvergence(view, m.clients.failedEpoch),
		Buckets:                  bucketReport(inForce, &view.Own),
		Traffic:                  r.traffic(inForce),
		Dataplane: v1alpha1.HostDataplane{
			Interface:  m.node.iface.Name,
			VirtualIPs: addresses(m.node.vips),
			Hook:       v1alpha1.Hook(m.node.port.Hook().String()),
			ClusterMAC: m.node.mac.String(),
			HostMAC:    m.node.iface.MAC.String(),
		},
	}
	if m.inForce != nil {
		s.ClusterGeneration = new(m.inForce.Generation)
	}
	if view.Default != 0 {
		s.DefaultHostID = new(int32(view.Default))
	}
	if r.verdict.Stalled() {
		since := r.instant(r.verdict.Since)
		s.Stall = &v1alpha1.HostStall{Reason: r.verdict.Reason, Queue: r.verdict.Queue, Message: r.verdict.Message, Since: &since}
	}
	s.Columns = words.Columns(int32(m.offered.HostID), s)
	r.setConditions(s, view)
	return s.DeepCopy()
}

// lastConvergence takes the epoch in which the clients' lists of the members did not come, 0 for none.
func (r *reporter) lastConvergence(view *convergence.View, stickinessFailed uint32) *v1alpha1.ConvergenceRecord {
	if view.Cause == convergence.CauseNone {
		return nil
	}
	started := r.instant(view.Started)
	record := &v1alpha1.ConvergenceRecord{Cause: v1alpha1.ConvergenceCause(view.Cause.String()), StartedAt: &started}
	if stickinessFailed != 0 && stickinessFailed == view.Epoch {
		record.Cause = v1alpha1.CauseStickinessSynchronizationFailure
	}
	if view.Finished != 0 {
		record.DurationMilliseconds = new((view.Finished - view.Started).Milliseconds())
	}
	return record
}

func (r *reporter) traffic(inForce *plan.Plan) v1alpha1.HostTraffic {
	c := &r.sample.counters
	return v1alpha1.HostTraffic{
		Admitted:    new(int64(c.Admitted)),
		Rejected:    new(int64(c.Rejected)),
		Invalid:     new(int64(c.Invalid)),
		Delivered:   new(int64(c.Delivered)),
		Answered:    new(int64(c.Answered)),
		Transmitted: new(int64(r.sample.link.Transmitted)),
		Completed:   new(int64(c.HandshakesCompleted)),
		Connections: new(int64(r.sample.connections.Count)),
		Untracked:   new(int64(c.Untracked)),
		Rules:       r.rules.report(inForce, &c.Slots),
	}
}

// instant returns the wall clock at a moment of the monotonic one.
func (r *reporter) instant(at time.Duration) metav1.Time {
	if t, ok := r.instants[at]; ok {
		return t
	}
	const enough = 16 // moments that one report can hold, and those of the report before
	if len(r.instants) >= enough || r.instants == nil {
		r.instants = map[time.Duration]metav1.Time{}
	}
	t := metav1.NewTime(time.Now().Add(at - filter.Now()).Truncate(time.Second))
	r.instants[at] = t
	return t
}

func (r *reporter) setConditions(s *v1alpha1.LoadBalancingHostStatus, view *convergence.View) {
	set := func(kind string, holds bool, reason, message string) {
		status := metav1.ConditionFalse
		if holds {
			status = metav1.ConditionTrue
		}
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: *s.ObservedGeneration,
		})
	}
	switch {
	case r.ended != "":
		set(v1alpha1.ConditionDataplaneReady, false, v1alpha1.ReasonAgentEnded, r.ended)
	case r.sendError != nil:
		set(v1alpha1.ConditionDataplaneReady, false, failureReason(r.sendError), r.sendError.Error())
	default:
		set(v1alpha1.ConditionDataplaneReady, true, v1alpha1.ReasonDataplaneReady,
			fmt.Sprintf("filter at %s of %s", s.Dataplane.Hook, s.Dataplane.Interface))
	}

	converged := view.State == convergence.StateConverged
	members := fmt.Sprintf("host %s, members %s, epoch %d", strings.ToLower(s.Columns.State), s.Columns.Members, view.Epoch)
	if view.State == convergence.StateDraining {
		members += ", " + connectionsLeft(r.sample.connections.Count)
	}
	if converged {
		set(v1alpha1.ConditionConverged, true, v1alpha1.ReasonConverged, members)
	} else {
		set(v1alpha1.ConditionConverged, false, string(s.State), members)
	}

	if r.table.full {
		set(v1alpha1.ConditionConnectionTableFull, true, v1alpha1.ReasonConnectionTableFull, r.table.message())
	} else {
		set(v1alpha1.ConditionConnectionTableFull, false, v1alpha1.ReasonConnectionsTracked, "")
	}

	consistent, reason, message := r.consistency(view)
	set(v1alpha1.ConditionConfigConsistent, consistent, reason, message)

	if s.Stall != nil {
		set(v1alpha1.ConditionTrafficStalled, true, string(s.Stall.Reason), stallMessage(s.Stall))
	} else {
		set(v1alpha1.ConditionTrafficStalled, false, v1alpha1.ReasonTrafficFlows, "")
	}

	switch {
	case !converged:
		set(v1alpha1.ConditionReady, false, v1alpha1.ReasonNotConverged, members)
	case s.Stall != nil:
		set(v1alpha1.ConditionReady, false, v1alpha1.ReasonTrafficStalled, stallMessage(s.Stall))
	case !consistent:
		set(v1alpha1.ConditionReady, false, v1alpha1.ReasonConfigInconsistent, message)
	default:
		set(v1alpha1.ConditionReady, true, v1alpha1.ReasonServing, members)
	}
}

// stallMessage has no numbers that change while a stall lasts.
func stallMessage(s *v1alpha1.HostStall) string {
	if s.Queue != "" {
		return fmt.Sprintf("%s on %s", s.Reason, s.Queue)
	}
	return string(s.Reason)
}

func (r *reporter) consistency(view *convergence.View) (consistent bool, reason, message string) {
	if r.configError != nil {
		return false, v1alpha1.ReasonConflict, "config refused, the last one stays in force: " + r.configError.Error()
	}
	if len(view.Conflicts) == 0 {
		return true, v1alpha1.ReasonConsistent, ""
	}
	messages := make([]string, len(view.Conflicts))
	for i, c := range view.Conflicts {
		messages[i] = c.Message
	}
	switch view.Conflicts[0].Reason {
	case convergence.CauseDuplicateHostID:
		reason = v1alpha1.ReasonDuplicateHostID
	case convergence.CauseNumberOfRules, convergence.CauseModifiedRules:
		reason = v1alpha1.ReasonRulesDiffer
	case convergence.CauseBadConfig:
		reason = v1alpha1.ReasonDuplicateHandlingPriority
	default:
		reason = v1alpha1.ReasonConflict
	}
	return false, reason, strings.Join(messages, "; ")
}

func bucketReport(p *plan.Plan, own *bucket.Table) []v1alpha1.RuleBuckets {
	var report []v1alpha1.RuleBuckets
	for _, slot := range p.UsedSlots() {
		report = append(report, v1alpha1.RuleBuckets{
			Rule: p.SlotName(slot), Count: new(int32(own[slot].Len())), Map: own[slot].String(),
		})
	}
	return report
}

func hostCondition(s convergence.State) v1alpha1.HostState {
	switch s {
	case convergence.StateConverged:
		return v1alpha1.HostConverged
	case convergence.StateConverging:
		return v1alpha1.HostConverging
	case convergence.StateDraining, convergence.StateLeaving:
		return v1alpha1.HostDraining
	case convergence.StateExcluded:
		return v1alpha1.HostExcluded
	case convergence.StateDisconnected:
		return v1alpha1.HostDisconnected
	case convergence.StateSuspended:
		return v1alpha1.HostSuspended
	case convergence.StateStopped:
		return v1alpha1.HostStopped
	default:
		return v1alpha1.HostUnknown
	}
}

// membersOf leaves out who is heard but does not belong: a host with other rules, or one that is about to join.
func membersOf(view *convergence.View) heartbeat.Set {
	if view.State == convergence.StateConverged || view.State == convergence.StateDraining {
		return view.Committed
	}
	return view.Members
}

func idsOf(set heartbeat.Set) []int32 {
	var ids []int32
	for id := uint8(1); id <= heartbeat.MaxHosts; id++ {
		if set.Has(id) {
			ids = append(ids, int32(id))
		}
	}
	return ids
}

func addresses(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}
