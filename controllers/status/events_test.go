// SPDX-License-Identifier: Apache-2.0

package status

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// after returns the cluster with the status computed from reports, as it would be read back.
func after(cluster *v1alpha1.LoadBalancingCluster, reports ...report) *v1alpha1.LoadBalancingCluster {
	next := cluster.DeepCopy()
	next.Status = aggregate(observation{cluster: cluster, reports: reports, now: testNow})
	return next
}

func TestNotices(t *testing.T) {
	all, two := []int32{1, 2, 3}, []int32{1, 2}
	none := testCluster()
	well := after(none, says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all))
	stalled := after(well, says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all, stalledBy(v1alpha1.StallEgressQueue)))
	full := after(well, says(1, converged, 7, all), says(2, converged, 7, all), says(3, converged, 7, all, hasTableFull("100 in use")))
	crashed := after(well, says(1, converged, 8, two), says(2, converged, 8, two), says(3, converged, 7, all))
	expired := after(crashed, says(1, converged, 8, two), says(2, converged, 8, two), says(3, converged, 7, all, stale))
	apart := after(well, says(1, converged, 8, two), says(2, converged, 8, two), says(3, converged, 8, []int32{3}))
	stopped := after(well, says(1, converged, 8, two), says(2, converged, 8, two), says(3, v1alpha1.HostStopped, 8, []int32{3}, wanted(v1alpha1.DesiredStateStopped)))
	draining := after(well, says(1, converged, 8, all), says(2, converged, 8, all), says(3, v1alpha1.HostDraining, 8, all, wanted(v1alpha1.DesiredStateDrained)))
	withoutDefault := after(well, says(1, converged, 7, all), says(2, converged, 8, []int32{2, 3}), says(3, converged, 8, []int32{2, 3}))
	reloaded := after(well, says(1, converged, 7, all, filtersBy(4)), says(2, converged, 7, all, filtersBy(5)), says(3, converged, 7, all, filtersBy(4)))
	mute := after(well, says(1, converged, 7, all, stale), says(2, converged, 7, all, stale), says(3, converged, 7, all, stale))
	for _, tc := range []struct {
		name          string
		before, after *v1alpha1.LoadBalancingCluster
		want          []string
	}{
		{"first convergence", none, well, []string{"Normal MemberJoined node-a", "Normal MemberJoined node-b", "Normal MemberJoined node-c", "Normal Converged "}},
		{"nothing changed", well, well, nil},
		{"stall begins", well, stalled, []string{"Warning EgressQueueStalled node-c"}},
		{"stall goes on", stalled, stalled, nil},
		{"stall ends", stalled, well, []string{"Normal TrafficRecovered node-c"}},
		{"connection table full", well, full, []string{"Warning ConnectionTableFull "}},
		{"connection table still full", full, full, nil},
		{"connection table has room", full, well, []string{"Normal ConnectionsTracked "}},
		{"member lost", well, crashed, []string{"Warning MemberLost node-c", "Normal Converged "}},
		{"its report runs out later", crashed, expired, nil},
		{"member back", expired, well, []string{"Normal MemberJoined node-c", "Normal Converged "}},
		{"stopped by the operator", well, stopped, []string{"Normal MemberLeft node-c", "Normal Converged "}},
		{"drain begins", well, draining, []string{"Normal DrainingStarted node-c", "Normal Converged "}},
		{"drain ends", draining, stopped, []string{"Normal MemberLeft node-c"}},
		{"drain is interrupted", draining, well, []string{"Normal DrainingInterrupted node-c", "Normal Converged "}},
		{"default host lost", well, withoutDefault, []string{"Warning MemberLost node-a", "Normal DefaultHostChanged node-b", "Normal Converged "}},
		{"config in force on all", well, reloaded, []string{"Normal ConfigInForce "}},
		{"partition", well, apart, []string{"Warning MemberLost node-c", "Normal ViewsDiffer ", "Warning DisjointViews "}},
		{"partition heals", apart, well, []string{"Normal MemberJoined node-c", "Normal Converged ", "Normal PartitionHealed "}},
		{"API server out of reach of all nodes", well, mute, []string{"Normal ReportsOutdated "}},
		{"a stalled host falls silent: that is no recovery", stalled, mute, []string{"Normal ReportsOutdated "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, n := range notices(&tc.before.Status, &tc.after.Status) {
				got = append(got, n.eventType+" "+n.reason+" "+n.node)
				if n.note == "" {
					t.Errorf("%s has no note", n.reason)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// The first hosts of a cluster find each other one after the other, and their reports come in any order: nobody is lost in that.
func TestNoticesOfFormation(t *testing.T) {
	one, two, both := []int32{1}, []int32{2}, []int32{1, 2}
	for name, steps := range map[string][][]report{
		"together, the higher ID reports first": {
			{says(1, "", 0, one, silent), says(2, converging, 0, two)},
			{says(1, converging, 0, one), says(2, converging, 0, two)},
			{says(1, converging, 0, both), says(2, converging, 0, two)},
			{says(1, converged, 1, both), says(2, converging, 0, both)},
			{says(1, converged, 1, both), says(2, converged, 1, both)},
		},
		"the first one converged alone": {
			{says(1, converged, 1, one), says(2, "", 0, two, silent)},
			{says(1, converged, 1, one), says(2, converging, 0, two)},
			{says(1, converging, 1, both), says(2, converging, 0, two)},
			{says(1, converged, 2, both), says(2, converging, 0, two)},
			{says(1, converged, 2, both), says(2, converged, 2, both)},
		},
		"the second one converged alone": {
			{says(1, "", 0, one, silent), says(2, converged, 1, two)},
			{says(1, converging, 0, one), says(2, converged, 1, two)},
			{says(1, converging, 0, one), says(2, converging, 1, both)},
			{says(1, converging, 0, both), says(2, converged, 2, both)},
			{says(1, converged, 2, both), says(2, converged, 2, both)},
		},
	} {
		cluster := testCluster()
		joined := map[string]int{}
		for _, reports := range steps {
			next := after(cluster, reports...)
			for _, n := range notices(&cluster.Status, &next.Status) {
				if n.eventType != corev1.EventTypeNormal || strings.HasPrefix(n.reason, "MemberL") {
					t.Errorf("%s: %s %s: %s", name, n.eventType, n.reason, n.note)
				}
				if n.reason == "MemberJoined" {
					joined[n.node]++
				}
			}
			cluster = next
		}
		if joined["node-a"] != 1 || joined["node-b"] != 1 {
			t.Errorf("%s: joined %v", name, joined)
		}
	}
}

func TestNoticesOfRemovedHost(t *testing.T) {
	before := after(testCluster(), says(1, converged, 7, []int32{1, 2}), says(2, converged, 7, []int32{1, 2}))
	now := after(before, says(1, converged, 8, []int32{1}))
	var reasons []string
	for _, n := range notices(&before.Status, &now.Status) {
		reasons = append(reasons, n.reason)
	}
	if diff := cmp.Diff([]string{"MemberLeft", "Converged"}, reasons); diff != "" {
		t.Error(diff)
	}
}

func TestNoticesOfConfig(t *testing.T) {
	cluster := testCluster()
	first := after(cluster, says(1, converged, 7, []int32{1}, contradicts(v1alpha1.ReasonRulesDiffer, "differ")))
	var got []string
	for _, n := range notices(&cluster.Status, &first.Status) {
		got = append(got, n.reason)
	}
	if diff := cmp.Diff([]string{"MemberJoined", "Converged", v1alpha1.ReasonRulesDiffer}, got); diff != "" {
		t.Error(diff)
	}
}
