// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// verdict is a condition before it is dated.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionTrue, reason, fmt.Sprintf(format, args...)}
}

func no(reason, format string, args ...any) verdict {
	return verdict{metav1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
}

// outdated is what can be said when no report is valid any more.
func outdated() verdict {
	return verdict{metav1.ConditionUnknown, v1alpha1.ReasonReportsOutdated,
		"all hosts' last reports are older than their leases: the cluster may serve, see whether the agents run and reach the API server"}
}

// conditions are those of the cluster that come from its hosts, Ready first.
func (s *summary) conditions() []metav1.Condition {
	converged, stalled, consistent, partitioned := s.converged(), s.stalled(), s.consistent(), s.partitioned()
	var conditions []metav1.Condition
	for _, c := range []struct {
		conditionType string
		verdict       verdict
	}{
		{v1alpha1.ConditionReady, s.ready(converged, stalled, consistent, partitioned)},
		{v1alpha1.ConditionConverged, converged},
		{v1alpha1.ConditionTrafficStalled, stalled},
		{v1alpha1.ConditionConfigConsistent, consistent},
		{v1alpha1.ConditionPartitioned, partitioned},
		{v1alpha1.ConditionConnectionTableFull, s.tableFull()},
	} {
		conditions = append(conditions, shared.NextCondition(
			shared.ConditionOf(s.cluster.Status.Conditions, c.conditionType),
			metav1.Condition{
				Type: c.conditionType, Status: c.verdict.status, Reason: c.verdict.reason, Message: c.verdict.message,
				ObservedGeneration: s.cluster.Generation,
			}, s.now))
	}
	return conditions
}

// converged is True when all who are alive agree on view, config and maps. A host that its peers dropped, or that has
// been silent for longer than its lease, is not alive; one that was just created is waited for.
func (s *summary) converged() verdict {
	if waiting := s.nodesWhere(s.isAwaited); len(waiting) > 0 {
		return no(v1alpha1.ReasonWaitingForHosts, "not reported yet: %s", strings.Join(waiting, ", "))
	}
	if !s.anyFresh() {
		if !slices.ContainsFunc(s.reports, func(r report) bool { return r.desired() }) {
			return no(v1alpha1.ReasonNoHosts,
				"no node is meant to be a member: see spec.nodeSelector, desiredState in spec.hosts, and spec.maintenance of the LoadBalancingHosts")
		}
		if !slices.ContainsFunc(s.reports, func(r report) bool { return r.reported }) {
			return no(v1alpha1.ReasonWaitingForHosts, "no host has reported yet")
		}
		return outdated()
	}
	if converging := s.nodesWhere(func(r *report) bool {
		return r.fresh &&
			r.host.Status.State == v1alpha1.HostConverging
	}); len(converging) > 0 {
		return no(v1alpha1.ReasonConverging, "converging: %s", strings.Join(converging, ", "))
	}
	if s.main == nil && len(s.cluster.Status.VirtualIPs) == 0 && len(s.problems) > 0 {
		return no(v1alpha1.ReasonNoHosts, "no host is a member, for none of its virtual IPs is assigned to the cluster")
	}
	if s.main == nil {
		return no(v1alpha1.ReasonNoHosts, "no host is a member")
	}
	if differ := s.differingViews(); len(differ) > 0 {
		return no(v1alpha1.ReasonViewsDiffer, "views differ: %s", strings.Join(differ, "; "))
	}
	if pending := s.nodesWhere(s.isPending); len(pending) > 0 {
		return no(v1alpha1.ReasonConfigPending, "generation %d of the spec is not in force yet on %s", s.cluster.Generation,
			strings.Join(pending, ", "))
	}
	return yes(v1alpha1.ReasonConverged, "members %s agree on epoch %d", ids(s.main.members), s.main.epoch)
}

func (s *summary) nodesWhere(is func(*report) bool) []string {
	var nodes []string
	for i := range s.reports {
		if is(&s.reports[i]) {
			nodes = append(nodes, s.reports[i].node())
		}
	}
	return nodes
}

func (s *summary) isAwaited(r *report) bool {
	return r.desired() && !r.reported && s.now.Sub(r.host.CreationTimestamp.Time) < joinGrace
}

// isPending reports whether a member filters by an older spec than the newest. A cluster that is being deleted has a
// new generation too, which concerns nobody.
func (s *summary) isPending(r *report) bool {
	if !s.cluster.DeletionTimestamp.IsZero() || !r.fresh || !s.isMember(r) {
		return false
	}
	g := r.host.Status.ClusterGeneration
	return g == nil || *g < s.cluster.Generation
}

// differingViews describes the views of converged hosts when there is more than one that counts.
func (s *summary) differingViews() []string {
	var words []string
	for _, v := range s.views {
		var nodes []string
		for _, h := range v.reporters {
			if !s.dropped(h) {
				nodes = append(nodes, h.node())
			}
		}
		if len(nodes) > 0 {
			words = append(words, fmt.Sprintf("%s says %s", strings.Join(nodes, ", "), ids(v.members)))
		}
	}
	if len(words) == 1 {
		return nil
	}
	return words
}

// stalled is True while a host that takes part carries no traffic, whether or not the cluster is converged: Q228942.
func (s *summary) stalled() verdict {
	if !s.anyFresh() && len(s.reports) > 0 && slices.ContainsFunc(s.reports, func(r report) bool { return r.reported }) {
		return outdated()
	}
	reason := ""
	var words []string
	for i := range s.reports {
		r := &s.reports[i]
		if !isStalled(r) {
			continue
		}
		stall := r.host.Status.Stall
		words = append(words, r.node()+": "+stallWords(stall))
		switch reason {
		case "", string(stall.Reason):
			reason = string(stall.Reason)
		default:
			reason = v1alpha1.ReasonSeveralStalls
		}
	}
	if len(words) > 0 {
		return yes(reason, "%s", strings.Join(words, "; "))
	}
	return no(v1alpha1.ReasonTrafficFlows, "no host is stalled")
}

// consistent is False while hosts or clusters contradict each other: Q193599.
func (s *summary) consistent() verdict {
	if len(s.problems) > 0 {
		reason := s.problems[0].Reason
		var words []string
		for _, p := range s.problems {
			if words = append(words, p.Message); p.Reason != reason {
				reason = v1alpha1.ReasonConflict
			}
		}
		return no(reason, "%s", strings.Join(words, "; "))
	}
	reason := ""
	var words []string
	for i := range s.reports {
		r := &s.reports[i]
		c := shared.ConditionOf(r.host.Status.Conditions, v1alpha1.ConditionConfigConsistent)
		if !r.fresh || c == nil || c.Status != metav1.ConditionFalse {
			continue
		}
		words = append(words, r.node()+": "+c.Message)
		switch reason {
		case "", c.Reason:
			reason = c.Reason
		default:
			reason = v1alpha1.ReasonConflict
		}
	}
	if len(words) > 0 {
		return no(reason, "%s", strings.Join(words, "; "))
	}
	return yes(v1alpha1.ReasonConsistent, "no contradiction is known")
}

func (s *summary) partitioned() verdict {
	if !s.anyFresh() && slices.ContainsFunc(s.reports, func(r report) bool { return r.reported }) {
		return outdated()
	}
	parts := partitions(s.views)
	if parts == nil {
		return no(v1alpha1.ReasonOneView, "there is one group of members")
	}
	var words []string
	for _, v := range parts {
		var nodes []string
		for _, id := range v.members {
			nodes = append(nodes, s.nodeOf(id))
		}
		words = append(words, fmt.Sprintf("%s (%s)", ids(v.members), strings.Join(nodes, ", ")))
	}
	return yes(v1alpha1.ReasonDisjointViews, "these groups are converged without each other, each serves all clients: %s",
		strings.Join(words, " and "))
}

// tableFull is True while a host has no room to track new connections.
func (s *summary) tableFull() verdict {
	if !s.anyFresh() && slices.ContainsFunc(s.reports, func(r report) bool { return r.reported }) {
		return outdated()
	}
	var words []string
	for i := range s.reports {
		r := &s.reports[i]
		if c := shared.ConditionOf(r.host.Status.Conditions, v1alpha1.ConditionConnectionTableFull); r.fresh && c != nil &&
			c.Status == metav1.ConditionTrue {
			words = append(words, r.node()+": "+c.Message)
		}
	}
	if len(words) > 0 {
		return yes(v1alpha1.ReasonConnectionTableFull, "%s", shared.Truncate(strings.Join(words, "; "), 8192))
	}
	return no(v1alpha1.ReasonConnectionsTracked, "every new connection is tracked")
}

// ready sums up the others.
func (s *summary) ready(converged, stalled, consistent, partitioned verdict) verdict {
	if !s.cluster.DeletionTimestamp.IsZero() {
		if nodes := s.nodesWhere(func(*report) bool { return true }); len(nodes) > 0 {
			return no(v1alpha1.ReasonDeleting, "waiting for the agents of %s to remove what they set up",
				strings.Join(nodes, ", "))
		}
		return no(v1alpha1.ReasonDeleting, "all hosts are gone")
	}
	switch {
	case partitioned.status == metav1.ConditionTrue:
		return no(v1alpha1.ReasonPartitioned, "%s", partitioned.message)
	case consistent.status == metav1.ConditionFalse:
		return no(v1alpha1.ReasonConfigInconsistent, "%s", consistent.message)
	case converged.status == metav1.ConditionUnknown:
		return converged
	case converged.reason == v1alpha1.ReasonNoHosts && len(s.missing()) == 0:
		return converged
	case converged.reason == v1alpha1.ReasonNoHosts:
		return no(v1alpha1.ReasonHostsMissing, "not a member: %s", strings.Join(s.missing(), "; "))
	case converged.status != metav1.ConditionTrue:
		return no(v1alpha1.ReasonNotConverged, "%s", converged.message)
	case stalled.status == metav1.ConditionTrue:
		return no(v1alpha1.ReasonTrafficStalled, "%s", stalled.message)
	}
	if missing := s.missing(); len(missing) > 0 {
		return no(v1alpha1.ReasonHostsMissing, "not a member: %s", strings.Join(missing, "; "))
	}
	if c := shared.ConditionOf(s.cluster.Status.Conditions, v1alpha1.ConditionHostsAssigned); c != nil &&
		c.Status == metav1.ConditionFalse {
		return no(v1alpha1.ReasonHostsNotAssigned, "%s", c.Message)
	}
	return yes(v1alpha1.ReasonServing, "%d of %d hosts serve the virtual IPs", s.count(s.isMember),
		s.count((*report).desired))
}

func (s *summary) count(is func(*report) bool) int { return len(s.nodesWhere(is)) }

func (s *summary) missing() []string {
	var words []string
	for i := range s.reports {
		r := &s.reports[i]
		if !r.desired() || s.isMember(r) {
			continue
		}
		word := r.node()
		if m := s.message(r); m != "" {
			word += " (" + m + ")"
		}
		words = append(words, word)
	}
	return words
}
