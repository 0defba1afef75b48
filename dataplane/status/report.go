// SPDX-License-Identifier: Apache-2.0

package status

import (
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// Report returns the status of a host that takes part in its cluster, or could.
func Report(f *Facts) *v1alpha1.LoadBalancingHostStatus {
	s := &v1alpha1.LoadBalancingHostStatus{
		ObservedGeneration:       new(f.HostGeneration),
		OfferedClusterGeneration: new(f.OfferedGeneration),
		State:                    stateOf(f.View.State),
		Members:                  idsOf(membersOf(f.View)),
		Epoch:                    new(int64(f.View.Epoch)),
		Convergences:             new(int64(f.View.Convergences)),
		LastConvergence:          lastConvergence(f),
		Buckets:                  bucketsOf(f.Rules),
		Traffic:                  trafficOf(f),
		Dataplane: v1alpha1.HostDataplane{
			Interface:  f.Dataplane.Interface,
			VirtualIPs: addresses(f.Dataplane.VirtualIPs),
			Hook:       f.Dataplane.Hook,
			ClusterMAC: f.Dataplane.ClusterMAC,
			HostMAC:    f.Dataplane.HostMAC,
		},
	}
	if f.InForceGeneration != nil {
		s.ClusterGeneration = new(*f.InForceGeneration)
	}
	if f.View.Default != 0 {
		s.DefaultHostID = new(int32(f.View.Default))
	}
	if f.Stall.Reason != "" {
		since := metav1.NewTime(f.Stall.Since)
		s.Stall = &v1alpha1.HostStall{Reason: f.Stall.Reason, Queue: f.Stall.Queue, Message: f.Stall.Message, Since: &since}
	}
	s.Columns = words.Columns(int32(f.HostID), s)
	s.Conditions = conditions(f, s)
	return s
}

func lastConvergence(f *Facts) *v1alpha1.ConvergenceRecord {
	if f.View.Cause == convergence.CauseNone {
		return nil
	}
	started := metav1.NewTime(f.ConvergenceStarted)
	record := &v1alpha1.ConvergenceRecord{Cause: v1alpha1.ConvergenceCause(f.View.Cause.String()), StartedAt: &started}
	if f.ClientListsMissing {
		record.Cause = v1alpha1.CauseStickinessSynchronizationFailure
	}
	if f.View.Finished != 0 {
		record.DurationMilliseconds = new((f.View.Finished - f.View.Started).Milliseconds())
	}
	return record
}

func bucketsOf(rules []Rule) []v1alpha1.RuleBuckets {
	var out []v1alpha1.RuleBuckets
	for _, r := range rules {
		out = append(out, v1alpha1.RuleBuckets{Rule: r.Name, Count: new(int32(r.Own.Len())), Map: r.Own.String()})
	}
	return out
}

func trafficOf(f *Facts) v1alpha1.HostTraffic {
	t := &f.Traffic
	out := v1alpha1.HostTraffic{
		Admitted:    new(int64(t.Admitted)),
		Rejected:    new(int64(t.Rejected)),
		Invalid:     new(int64(t.Invalid)),
		Delivered:   new(int64(t.Delivered)),
		Answered:    new(int64(t.Answered)),
		Transmitted: new(int64(t.Transmitted)),
		Completed:   new(int64(t.Completed)),
		Connections: new(int64(t.Connections)),
		Untracked:   new(int64(t.Untracked)),
	}
	for _, r := range f.Rules {
		out.Rules = append(out.Rules, v1alpha1.RuleTraffic{
			Rule: r.Name, Accepted: new(int64(r.Accepted)), Dropped: new(int64(r.Dropped)), Opened: new(int64(r.Opened)),
		})
	}
	return out
}

// stateOf is a state in the API's words. They are those of convergence, which tells more finely how a host ends.
func stateOf(s convergence.State) v1alpha1.HostState {
	if s == convergence.StateLeaving {
		return v1alpha1.HostDraining
	}
	return v1alpha1.HostState(s.String())
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
