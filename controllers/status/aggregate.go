// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// joinGrace is how long after its creation a host without any report counts as about to join.
const joinGrace = 2 * time.Minute

// observation is all that a cluster's status is computed from.
type observation struct {
	cluster *v1alpha1.LoadBalancingCluster
	// reports of all hosts of the cluster, in any order.
	reports []report
	// problems are the virtual IPs that are not assigned to the cluster, or not to it alone.
	problems []virtualips.Problem
	now      time.Time
}

// summarize groups the reports by view, and takes one view for that of the cluster.
func summarize(o observation) *summary {
	slices.SortFunc(o.reports, func(a, b report) int {
		if a.id() != b.id() {
			return int(a.id() - b.id())
		}
		return strings.Compare(a.node(), b.node())
	})
	s := &summary{observation: o, views: viewsOf(o.reports)}
	if len(s.views) > 0 {
		s.main = s.views[0]
	}
	return s
}

// status is that of the cluster. Each fact comes from who can know it: a host's own state from its report
// while that is valid, membership from the views of the hosts that agree.
func (s *summary) status() v1alpha1.LoadBalancingClusterStatus {
	generation := s.cluster.Generation
	status := v1alpha1.LoadBalancingClusterStatus{
		ObservedGeneration: &generation,
		GenerationInForce:  s.generationInForce(),
		Hosts:              s.hosts(),
	}
	if s.main != nil {
		status.DefaultHost = s.nodeOf(s.main.members[0])
		epoch := s.main.epoch
		status.Epoch = &epoch
		status.LastConvergence = s.main.lastConvergence()
	}
	status.HostCounts, status.Columns = s.tally()
	status.Conditions = s.conditions()
	return status
}

// summary answers questions about an observation.
type summary struct {
	observation
	views []*view
	// main is the view that counts, nil when nobody reports one.
	main *view
}

// anyFresh reports whether anybody can be asked at all.
func (s *summary) anyFresh() bool {
	return slices.ContainsFunc(s.reports, func(r report) bool { return r.fresh })
}

func (s *summary) nodeOf(id int32) string {
	for i := range s.reports {
		if s.reports[i].id() == id {
			return s.reports[i].node()
		}
	}
	return fmt.Sprintf("host-%d", id)
}

// dropped reports whether the members agree that a host is gone which said itself that it is one of them.
func (s *summary) dropped(r *report) bool {
	if s.main == nil || !s.main.agreed || s.main.contains(r.id()) {
		return false
	}
	return r.overwritten() || r.participates() && slices.ContainsFunc(r.host.Status.Members, s.main.contains)
}

func (s *summary) isMember(r *report) bool { return s.main.contains(r.id()) }

// generationInForce is the oldest spec by which a member that can be asked filters; nil if there is none, or one does
// not say.
func (s *summary) generationInForce() *int64 {
	var oldest *int64
	for i := range s.reports {
		r := &s.reports[i]
		if !r.fresh || !s.isMember(r) {
			continue
		}
		g := r.host.Status.ClusterGeneration
		if g == nil || *g < 1 {
			return nil
		}
		if oldest == nil || *g < *oldest {
			oldest = new(*g)
		}
	}
	return oldest
}

func (s *summary) hosts() []v1alpha1.ClusterHostStatus {
	hosts := make([]v1alpha1.ClusterHostStatus, 0, len(s.reports))
	for i := range s.reports {
		hosts = append(hosts, s.host(&s.reports[i]))
	}
	return hosts
}

func (s *summary) host(r *report) v1alpha1.ClusterHostStatus {
	id := r.id()
	h := v1alpha1.ClusterHostStatus{NodeName: r.node(), HostID: &id, State: v1alpha1.HostUnknown}
	if s.anyFresh() {
		h.Membership = v1alpha1.MembershipNotMember
		if s.isMember(r) {
			h.Membership = v1alpha1.MembershipMember
		}
	}
	h.Message = shared.Truncate(s.message(r), 1024)
	if !r.fresh || s.dropped(r) {
		if r.reported {
			renewed := metav1.NewTime(r.host.Status.RenewTime.Truncate(time.Second))
			h.LastReportTime = &renewed
		}
		return h
	}
	reported := r.host.Status.DeepCopy()
	if reported.State != "" {
		h.State = reported.State
	}
	h.Members = reported.Members
	for _, b := range reported.Buckets {
		h.Buckets = append(h.Buckets, v1alpha1.RuleBuckets{Rule: b.Rule, Count: b.Count})
	}
	if reported.Stall != nil {
		h.StallReason = reported.Stall.Reason
	}
	return h
}

// message says what is wrong with a host, "" if nothing is.
func (s *summary) message(r *report) string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if r.leaving() {
		add("is being removed since %s", r.host.DeletionTimestamp.UTC().Format(time.RFC3339))
	}
	if m := words.Maintenance(r.host); m != "" {
		add("%s", m)
	}
	switch {
	case !r.reported:
		add("has not reported yet")
	case s.dropped(r):
		add("its peers %s dropped it, and it has not reported since %s", ids(s.main.members),
			r.host.Status.RenewTime.UTC().Format(time.RFC3339))
	case r.overwritten() && !s.isMember(r):
		add("its peers dropped it, and it has not reported since %s", r.host.Status.RenewTime.UTC().Format(time.RFC3339))
	case !r.fresh && s.isMember(r):
		add("its peers list it, but its own last report is older than its lease: the node reaches its peers and not the API server")
	case !r.fresh:
		add("its last report is older than its lease")
	case r.host.Status.State == v1alpha1.HostExcluded:
		add("its peers serve without it")
	case r.host.Status.State == v1alpha1.HostDisconnected:
		add("its interface has no carrier")
	case r.participates() && s.main != nil && !s.isMember(r):
		add("has a view of its own: %s", ids(r.host.Status.Members))
	case r.desired() && (r.host.Status.State == v1alpha1.HostStopped || r.host.Status.State == v1alpha1.HostSuspended):
		add("is %s although it should be started", strings.ToLower(string(r.host.Status.State)))
	}
	if r.fresh {
		parts = append(parts, ownWords(r.host)...)
	}
	return strings.Join(parts, "; ")
}

// ownWords are what a host says itself of what is wrong with it.
func ownWords(host *v1alpha1.LoadBalancingHost) []string {
	var words []string
	if stall := host.Status.Stall; stall != nil {
		words = append(words, stallWords(stall))
	}
	for _, conditionType := range []string{v1alpha1.ConditionDataplaneReady, v1alpha1.ConditionConfigConsistent} {
		if c := shared.ConditionOf(host.Status.Conditions, conditionType); c != nil && c.Status == metav1.ConditionFalse {
			words = append(words, c.Reason+": "+c.Message)
		}
	}
	if c := shared.ConditionOf(host.Status.Conditions, v1alpha1.ConditionConnectionTableFull); c != nil &&
		c.Status == metav1.ConditionTrue {
		words = append(words, c.Reason+": "+c.Message)
	}
	return words
}

func stallWords(stall *v1alpha1.HostStall) string {
	words := string(stall.Reason)
	if stall.Queue != "" {
		words += " on " + stall.Queue
	}
	if stall.Message != "" {
		words += ": " + stall.Message
	}
	return words
}

// tally counts the hosts, for people and for columns.
func (s *summary) tally() (v1alpha1.HostCounts, v1alpha1.ClusterColumns) {
	var desired, members, converged, convergedAsDesired, stalled int32
	var stalledNodes []string
	if s.main != nil {
		members = int32(len(s.main.members))
	}
	for i := range s.reports {
		r := &s.reports[i]
		isConverged := s.isConverged(r)
		if isConverged {
			converged++
		}
		if r.desired() {
			desired++
			if isConverged {
				convergedAsDesired++
			}
		}
		if isStalled(r) {
			stalled++
			stalledNodes = append(stalledNodes, r.node())
		}
	}
	return v1alpha1.HostCounts{Desired: &desired, Members: &members, Converged: &converged, Stalled: &stalled},
		v1alpha1.ClusterColumns{
			Hosts:   fmt.Sprintf("%d/%d", convergedAsDesired, desired),
			Stalled: shared.Truncate(strings.Join(stalledNodes, ","), 1024),
		}
}

// isConverged reports whether a host is a member that is not converging. One whose own report ran out counts as long as
// its peers list it, for they have it in a view that it acknowledged.
func (s *summary) isConverged(r *report) bool {
	if !s.isMember(r) {
		return false
	}
	if !r.fresh {
		return s.main.agreed && s.main.converged()
	}
	return r.host.Status.State == v1alpha1.HostConverged || r.host.Status.State == v1alpha1.HostDraining
}

func isStalled(r *report) bool { return r.fresh && r.host.Status.Stall != nil }

// lastConvergence is the youngest one that a report of the view has.
func (v *view) lastConvergence() *v1alpha1.ConvergenceRecord {
	var last *v1alpha1.ConvergenceRecord
	for _, h := range v.reporters {
		c := h.host.Status.LastConvergence
		if c == nil || last != nil && (c.StartedAt == nil || last.StartedAt != nil && !last.StartedAt.Before(c.StartedAt)) {
			continue
		}
		last = c
	}
	return last.DeepCopy()
}

// ids writes host IDs as people read them: {1,2,3}.
func ids(members []int32) string {
	words := make([]string, len(members))
	for i, id := range members {
		words[i] = fmt.Sprint(id)
	}
	return "{" + strings.Join(words, ",") + "}"
}
