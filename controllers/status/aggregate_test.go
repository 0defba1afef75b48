// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
)

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// aggregate computes the status of a cluster.
func aggregate(o observation) v1alpha1.LoadBalancingClusterStatus { return summarize(o).status() }

// hostOption changes a host's report.
type hostOption func(*report)

// says makes a fresh report of a started host, named node-a for ID 1 and so on.
func says(id int32, state v1alpha1.HostState, epoch int64, members []int32, options ...hostOption) report {
	generation := int64(3)
	lowest := members[0]
	started := metav1.NewTime(testNow.Add(-time.Duration(100-epoch) * time.Minute))
	took := int64(1240)
	renewed := metav1.NewMicroTime(testNow.Add(-time.Second))
	node := "node-" + string('a'+id-1)
	r := report{reported: true, valid: true, fresh: true, host: &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: "web." + node, CreationTimestamp: metav1.NewTime(testNow.Add(-time.Hour))},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: node, HostID: id, DesiredState: v1alpha1.DesiredStateStarted},
		Status: v1alpha1.LoadBalancingHostStatus{
			State: state, Members: members, Epoch: &epoch, DefaultHostID: &lowest, ClusterGeneration: &generation, RenewTime: &renewed,
			LastConvergence: &v1alpha1.ConvergenceRecord{Cause: v1alpha1.CauseMemberLost, StartedAt: &started, DurationMilliseconds: &took},
		},
	}}
	for _, o := range options {
		o(&r)
	}
	return r
}

func stale(r *report) { r.valid, r.fresh = false, false }

// overwritten is a report of a host that its peers dropped, as the manager left it.
func overwritten(r *report) { r.fresh, r.host.Status.State = false, v1alpha1.HostUnknown }

func silent(r *report) {
	r.reported, r.valid, r.fresh, r.host.Status = false, false, false, v1alpha1.LoadBalancingHostStatus{}
}

func young(r *report) { r.host.CreationTimestamp = metav1.NewTime(testNow.Add(-time.Second)) }

func leaving(r *report) { r.host.DeletionTimestamp = &metav1.Time{Time: testNow.Add(-time.Second)} }

func wanted(state v1alpha1.DesiredState) hostOption {
	return func(r *report) { r.host.Spec.DesiredState = state }
}

func stalledBy(reason v1alpha1.StallReason) hostOption {
	return func(r *report) {
		r.host.Status.Stall = &v1alpha1.HostStall{Reason: reason, Queue: "class 1:10", Message: "73 packets wait, none sent in 5 s"}
	}
}

func filtersBy(generation int64) hostOption {
	return func(r *report) { r.host.Status.ClusterGeneration = &generation }
}

func lacks(reason, message string) hostOption {
	return func(r *report) {
		r.host.Status.Conditions = append(r.host.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionDataplaneReady, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		})
	}
}

func hasTableFull(message string) hostOption {
	return func(r *report) {
		r.host.Status.Conditions = append(r.host.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionConnectionTableFull, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConnectionTableFull, Message: message,
		})
	}
}

func contradicts(reason, message string) hostOption {
	return func(r *report) {
		r.host.Status.Conditions = append(r.host.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionConfigConsistent, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		})
	}
}

func testCluster() *v1alpha1.LoadBalancingCluster {
	return &v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 3},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{"192.0.2.10"}},
	}
}

const (
	converged  = v1alpha1.HostConverged
	converging = v1alpha1.HostConverging
)

func TestAggregate(t *testing.T) {
	all := []int32{1, 2, 3}
	for _, tc := range []struct {
		name    string
		reports []report
		// conditions as Type=Status/Reason, those not named are not checked.
		conditions  []string
		hosts       string // column
		stalled     string // column
		defaultHost string
		// states as node=State/Membership.
		states []string
		// messages are node=part of its message.
		messages []string
	}{
		{
			name:        "all well",
			reports:     []report{says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all)},
			conditions:  []string{"Ready=True/Serving", "Converged=True/Converged", "TrafficStalled=False/TrafficFlows", "ConfigConsistent=True/Consistent", "Partitioned=False/OneView"},
			hosts:       "3/3",
			defaultHost: "node-a",
			states:      []string{"node-a=Converged/Member", "node-b=Converged/Member", "node-c=Converged/Member"},
		},
		{
			name:       "Q228942: converged and no traffic",
			reports:    []report{says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all, stalledBy(v1alpha1.StallEgressQueue))},
			conditions: []string{"Ready=False/TrafficStalled", "Converged=True/Converged", "TrafficStalled=True/EgressQueueStalled"},
			hosts:      "3/3", stalled: "node-c", defaultHost: "node-a",
			messages: []string{"node-c=EgressQueueStalled on class 1:10: 73 packets wait"},
		},
		{
			name: "two stalls",
			reports: []report{
				says(1, converged, 7, all, stalledBy(v1alpha1.StallServiceNotAnswering)), says(2, converged, 7, all),
				says(3, converged, 7, all, stalledBy(v1alpha1.StallEgressQueue)),
			},
			conditions: []string{"Converged=True/Converged", "TrafficStalled=True/SeveralStalls"},
			hosts:      "3/3", stalled: "node-a,node-c", defaultHost: "node-a",
		},
		{
			name: "Q193599: different rules",
			reports: []report{
				says(1, converged, 7, []int32{1, 2}), says(2, converged, 7, []int32{1, 2}),
				says(3, converging, 7, []int32{3}, contradicts(v1alpha1.ReasonRulesDiffer, "rules of host 3 (node-c) differ from those of host 1 (node-a)")),
			},
			conditions: []string{"Ready=False/ConfigInconsistent", "Converged=False/Converging", "ConfigConsistent=False/RulesDiffer"},
			hosts:      "2/3", defaultHost: "node-a",
			messages: []string{"node-c=RulesDiffer: rules of host 3 (node-c) differ from those of host 1 (node-a)"},
		},
		{
			name: "Q193599: duplicate host ID seen from both sides",
			reports: []report{
				says(1, converging, 7, all, contradicts(v1alpha1.ReasonDuplicateHostID, "host ID 1 is also used by 02:00:00:00:00:09")),
				says(2, converging, 7, all, contradicts(v1alpha1.ReasonRulesDiffer, "something else")), says(3, converging, 7, all),
			},
			conditions: []string{"ConfigConsistent=False/Conflict", "Converged=False/Converging"},
			hosts:      "0/3", defaultHost: "node-a",
		},
		{
			name:       "a host crashed a moment ago, its report is still valid",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, converged, 7, all)},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged", "Partitioned=False/OneView"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-a=Converged/Member", "node-c=Unknown/NotMember"},
			messages: []string{"node-c=its peers {1,2} dropped it, and it has not reported since 2026-01-02T03:04:04Z"},
		},
		{
			name:       "the same when the manager wrote over its report",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, converged, 7, all, overwritten)},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged", "Partitioned=False/OneView"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-a=Converged/Member", "node-c=Unknown/NotMember"},
			messages: []string{"node-c=its peers {1,2} dropped it, and it has not reported since 2026-01-02T03:04:04Z"},
		},
		{
			name:       "one of two crashed a moment ago: the survivor counts",
			reports:    []report{says(1, converged, 7, []int32{1, 2}), says(2, converged, 8, []int32{2})},
			conditions: []string{"Converged=True/Converged", "Partitioned=False/OneView"},
			hosts:      "1/2", defaultHost: "node-b",
			states: []string{"node-a=Unknown/NotMember", "node-b=Converged/Member"},
		},
		{
			name:       "a crashed host's report ran out",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, converged, 7, all, stale, stalledBy(v1alpha1.StallEgressQueue))},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged", "TrafficStalled=False/TrafficFlows"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-c=Unknown/NotMember"},
			messages: []string{"node-c=its last report is older than its lease"},
		},
		{
			name:       "a member that cannot reach the API server",
			reports:    []report{says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all, stale)},
			conditions: []string{"Ready=True/Serving", "Converged=True/Converged"},
			hosts:      "3/3", defaultHost: "node-a",
			states:   []string{"node-c=Unknown/Member"},
			messages: []string{"node-c=reaches its peers and not the API server"},
		},
		{
			name:       "the default host is known though it cannot report",
			reports:    []report{says(1, converged, 7, all, stale), says(2, converged, 7, all), says(3, converged, 7, all)},
			conditions: []string{"Converged=True/Converged"},
			hosts:      "3/3", defaultHost: "node-a",
		},
		{
			name:       "nobody reports any more",
			reports:    []report{says(1, converged, 7, all, stale), says(2, converged, 7, all, stale), says(3, converged, 7, all, stale)},
			conditions: []string{"Ready=Unknown/ReportsOutdated", "Converged=Unknown/ReportsOutdated", "TrafficStalled=Unknown/ReportsOutdated", "Partitioned=Unknown/ReportsOutdated"},
			hosts:      "0/3",
			states:     []string{"node-a=Unknown/", "node-b=Unknown/", "node-c=Unknown/"},
		},
		{
			name:       "Q197863: partition",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, converged, 9, []int32{3})},
			conditions: []string{"Ready=False/Partitioned", "Converged=False/ViewsDiffer", "Partitioned=True/DisjointViews"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-c=Converged/NotMember"},
			messages: []string{"node-c=has a view of its own: {3}"},
		},
		{
			name:       "partition into equal halves: the newer view comes first",
			reports:    []report{says(1, converged, 8, []int32{1}), says(2, converged, 9, []int32{2})},
			conditions: []string{"Partitioned=True/DisjointViews"},
			hosts:      "1/2", defaultHost: "node-b",
		},
		{
			name:       "a lone group that is still converging is no partition",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, converging, 7, []int32{3})},
			conditions: []string{"Converged=False/Converging", "Partitioned=False/OneView"},
			hosts:      "2/3", defaultHost: "node-a",
		},
		{
			name:       "views overlap without agreement",
			reports:    []report{says(1, converged, 7, []int32{1, 2}), says(2, converged, 7, all), says(3, converged, 7, []int32{2, 3})},
			conditions: []string{"Converged=False/ViewsDiffer", "Partitioned=False/OneView"},
			hosts:      "2/3", defaultHost: "node-a",
		},
		{
			name:       "an excluded host does not count and does not keep the others from being converged",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, v1alpha1.HostExcluded, 8, []int32{3})},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-c=Excluded/NotMember"},
			messages: []string{"node-c=its peers serve without it"},
		},
		{
			name:       "nor does one without a carrier",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, v1alpha1.HostDisconnected, 8, []int32{3})},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged", "Partitioned=False/OneView"},
			hosts:      "2/3", defaultHost: "node-a",
			states:   []string{"node-c=Disconnected/NotMember"},
			messages: []string{"node-c=its interface has no carrier"},
		},
		{
			name:       "converging after a loss: the members are still shown",
			reports:    []report{says(1, converging, 7, []int32{1, 2}), says(2, converging, 7, []int32{1, 2}), says(3, converged, 7, all)},
			conditions: []string{"Ready=False/NotConverged", "Converged=False/Converging"},
			hosts:      "0/3", defaultHost: "node-a",
		},
		{
			name:       "just created, one has reported",
			reports:    []report{says(1, converged, 1, []int32{1}), says(2, converged, 1, all, silent, young), says(3, converged, 1, all, silent, young)},
			conditions: []string{"Ready=False/NotConverged", "Converged=False/WaitingForHosts"},
			hosts:      "1/3", defaultHost: "node-a",
			messages: []string{"node-b=has not reported yet"},
		},
		{
			name:       "a host that never reports does not keep the others from being converged for ever",
			reports:    []report{says(1, converged, 1, []int32{1, 2}), says(2, converged, 1, []int32{1, 2}), says(3, converged, 1, all, silent)},
			conditions: []string{"Ready=False/HostsMissing", "Converged=True/Converged"},
			hosts:      "2/3", defaultHost: "node-a",
		},
		{
			name:       "nobody has ever reported",
			reports:    []report{says(1, converged, 1, all, silent), says(2, converged, 1, all, silent)},
			conditions: []string{"Ready=False/NotConverged", "Converged=False/WaitingForHosts", "TrafficStalled=False/TrafficFlows"},
			hosts:      "0/2",
		},
		{
			name:       "no host",
			conditions: []string{"Ready=False/NoHosts", "Converged=False/NoHosts", "TrafficStalled=False/TrafficFlows", "Partitioned=False/OneView"},
			hosts:      "0/0",
		},
		{
			name: "no host can start",
			reports: []report{
				says(1, v1alpha1.HostStopped, 0, []int32{1}, lacks(v1alpha1.ReasonInterfaceNotFound, "no interface eth7")),
				says(2, v1alpha1.HostStopped, 0, []int32{2}, lacks(v1alpha1.ReasonMTUTooSmall, "MTU 1400")),
			},
			conditions: []string{"Ready=False/HostsMissing", "Converged=False/NoHosts"},
			hosts:      "0/2",
			states:     []string{"node-a=Stopped/NotMember"},
			messages:   []string{"node-a=is stopped although it should be started; InterfaceNotFound: no interface eth7", "node-b=MTUTooSmall: MTU 1400"},
		},
		{
			name:       "the newest spec is not in force everywhere",
			reports:    []report{says(1, converged, 7, all), says(2, converged, 7, all, filtersBy(2)), says(3, converged, 7, all)},
			conditions: []string{"Ready=False/NotConverged", "Converged=False/ConfigPending"},
			hosts:      "3/3", defaultHost: "node-a",
		},
		{
			name:       "a stopped host is not desired",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, v1alpha1.HostStopped, 8, []int32{3}, wanted(v1alpha1.DesiredStateStopped))},
			conditions: []string{"Ready=True/Serving", "Converged=True/Converged"},
			hosts:      "2/2", defaultHost: "node-a",
			states: []string{"node-c=Stopped/NotMember"},
		},
		{
			name:       "a draining host is a member still",
			reports:    []report{says(1, converged, 8, all), says(2, converged, 8, all), says(3, v1alpha1.HostDraining, 8, all, wanted(v1alpha1.DesiredStateDrained))},
			conditions: []string{"Ready=True/Serving", "Converged=True/Converged"},
			hosts:      "2/2", defaultHost: "node-a",
			states: []string{"node-c=Draining/Member"},
		},
		{
			name:       "a host is being removed",
			reports:    []report{says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}), says(3, v1alpha1.HostStopped, 8, []int32{3}, leaving)},
			conditions: []string{"Ready=True/Serving", "Converged=True/Converged"},
			hosts:      "2/2", defaultHost: "node-a",
			messages: []string{"node-c=is being removed since 2026-01-02T03:04:04Z"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status := aggregate(observation{cluster: testCluster(), reports: tc.reports, now: testNow})
			for _, want := range tc.conditions {
				conditionType, rest, _ := strings.Cut(want, "=")
				c := shared.ConditionOf(status.Conditions, conditionType)
				if c == nil {
					t.Errorf("no condition %s", conditionType)
					continue
				}
				if got := string(c.Status) + "/" + c.Reason; got != rest {
					t.Errorf("%s is %s (%s), want %s", conditionType, got, c.Message, rest)
				}
				if c.ObservedGeneration != 3 || c.Message == "" {
					t.Errorf("%s lacks generation or message: %+v", conditionType, c)
				}
			}
			if status.Columns.Hosts != tc.hosts || status.Columns.Stalled != tc.stalled || status.DefaultHost != tc.defaultHost {
				t.Errorf("columns %q %q, default host %q, want %q %q %q",
					status.Columns.Hosts, status.Columns.Stalled, status.DefaultHost, tc.hosts, tc.stalled, tc.defaultHost)
			}
			byNode := map[string]v1alpha1.ClusterHostStatus{}
			for _, h := range status.Hosts {
				byNode[h.NodeName] = h
			}
			for _, want := range tc.states {
				node, rest, _ := strings.Cut(want, "=")
				if got := string(byNode[node].State) + "/" + string(byNode[node].Membership); got != rest {
					t.Errorf("%s is %s, want %s", node, got, rest)
				}
			}
			for _, want := range tc.messages {
				node, part, _ := strings.Cut(want, "=")
				if got := byNode[node].Message; !strings.Contains(got, part) {
					t.Errorf("message of %s is %q, want it to contain %q", node, got, part)
				}
			}
		})
	}
}

func TestAggregatePartitionNamesBothGroups(t *testing.T) {
	status := aggregate(observation{cluster: testCluster(), now: testNow, reports: []report{
		says(1, converged, 8, []int32{1, 3}), says(2, converged, 9, []int32{2}), says(3, converged, 8, []int32{1, 3}),
	}})
	message := shared.ConditionOf(status.Conditions, v1alpha1.ConditionPartitioned).Message
	for _, want := range []string{"{1,3} (node-a, node-c)", "{2} (node-b)"} {
		if !strings.Contains(message, want) {
			t.Errorf("message %q does not name %q", message, want)
		}
	}
}

func TestAggregateCounts(t *testing.T) {
	status := aggregate(observation{cluster: testCluster(), now: testNow, reports: []report{
		says(1, converged, 8, []int32{1, 2}), says(2, converged, 8, []int32{1, 2}, stalledBy(v1alpha1.StallRepliesLost)), says(3, converged, 7, []int32{1, 2, 3}),
	}})
	want := v1alpha1.HostCounts{Desired: new(int32(3)), Members: new(int32(2)), Converged: new(int32(2)), Stalled: new(int32(1))}
	if diff := cmp.Diff(want, status.HostCounts); diff != "" {
		t.Error(diff)
	}
	if status.Epoch == nil || *status.Epoch != 8 || status.LastConvergence == nil || status.LastConvergence.Cause != v1alpha1.CauseMemberLost {
		t.Errorf("epoch and last convergence of the members that agree are missing: %+v", status)
	}
}

func TestAggregateVirtualIPConflict(t *testing.T) {
	conflict := virtualips.Problem{Reason: v1alpha1.ReasonVirtualIPConflict, Message: "192.0.2.10 is assigned to mail"}
	address := virtualips.Problem{Reason: v1alpha1.ReasonVirtualIPIsNodeAddress, Message: "192.0.2.11 is node-a's"}
	for reason, problems := range map[string][]virtualips.Problem{
		v1alpha1.ReasonVirtualIPConflict:      {conflict},
		v1alpha1.ReasonVirtualIPIsNodeAddress: {address},
		v1alpha1.ReasonConflict:               {conflict, address},
	} {
		status := aggregate(observation{cluster: testCluster(), now: testNow, reports: []report{says(1, converged, 8, []int32{1})}, problems: problems})
		c := shared.ConditionOf(status.Conditions, v1alpha1.ConditionConfigConsistent)
		if c.Status != metav1.ConditionFalse || c.Reason != reason {
			t.Errorf("with %v: %+v", problems, c)
		}
		for _, p := range problems {
			if !strings.Contains(c.Message, p.Message) {
				t.Errorf("condition does not say %q: %q", p.Message, c.Message)
			}
		}
	}
}

// A cluster without a virtual IP has hosts that stand by, and says why.
func TestAggregateWithoutVirtualIPs(t *testing.T) {
	standsBy := says(1, v1alpha1.HostStopped, 0, []int32{1}, lacks(v1alpha1.ReasonVirtualIPConflict, "no virtual IP is assigned to the cluster"))
	status := aggregate(observation{
		cluster: testCluster(), now: testNow, reports: []report{standsBy},
		problems: []virtualips.Problem{{Reason: v1alpha1.ReasonVirtualIPConflict, Message: "192.0.2.10 is assigned to mail"}},
	})
	if status.Columns.Hosts != "0/1" {
		t.Errorf("HOSTS is %s", status.Columns.Hosts)
	}
	for conditionType, want := range map[string]string{v1alpha1.ConditionConverged: "none of its virtual IPs is assigned to the cluster", v1alpha1.ConditionReady: "assigned to mail"} {
		if c := shared.ConditionOf(status.Conditions, conditionType); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, want) {
			t.Errorf("%s is %s: %q, want %q", conditionType, c.Status, c.Message, want)
		}
	}
}

func TestAggregateKeepsTransitionTimes(t *testing.T) {
	cluster := testCluster()
	reports := []report{says(1, converged, 8, []int32{1})}
	cluster.Status = aggregate(observation{cluster: cluster, reports: reports, now: testNow})
	later := aggregate(observation{cluster: cluster, reports: reports, now: testNow.Add(time.Minute)})
	if diff := cmp.Diff(cluster.Status, later); diff != "" {
		t.Errorf("nothing changed, yet the status did: %s", diff)
	}
	reports = []report{says(1, converged, 8, []int32{1}, stalledBy(v1alpha1.StallEgressQueue))}
	stalled := aggregate(observation{cluster: cluster, reports: reports, now: testNow.Add(time.Hour)})
	if c := shared.ConditionOf(stalled.Conditions, v1alpha1.ConditionTrafficStalled); !c.LastTransitionTime.Equal(&metav1.Time{Time: testNow.Add(time.Hour)}) {
		t.Errorf("transition is dated %s", c.LastTransitionTime)
	}
	if c := shared.ConditionOf(stalled.Conditions, v1alpha1.ConditionConverged); !c.LastTransitionTime.Equal(&metav1.Time{Time: testNow}) {
		t.Errorf("Converged did not change, yet it is dated %s", c.LastTransitionTime)
	}
}

func TestAggregateDeleting(t *testing.T) {
	cluster := testCluster()
	cluster.DeletionTimestamp = &metav1.Time{Time: testNow}
	status := aggregate(observation{cluster: cluster, now: testNow, reports: []report{says(2, converged, 8, []int32{2}, leaving)}})
	c := shared.ConditionOf(status.Conditions, v1alpha1.ConditionReady)
	if c.Reason != v1alpha1.ReasonDeleting || !strings.Contains(c.Message, "node-b") {
		t.Errorf("Ready does not say which host is waited for: %+v", c)
	}
}
