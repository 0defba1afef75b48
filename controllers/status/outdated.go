// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// markSilent sets the state of hosts to Unknown whose report ran out, as Kubernetes does with nodes whose kubelet is
// silent, and of those that their peers dropped: else "kubectl get lbh" and "kubectl wait" would show the last words of
// a dead host. The agent takes the fields back with its next report. It returns when to look again, zero for never.
func (r *Reconciler) markSilent(ctx context.Context, s *summary) (next time.Duration, err error) {
	for i := range s.reports {
		report := &s.reports[i]
		if !report.reported || report.host.Status.State == v1alpha1.HostUnknown {
			continue
		}
		var status *v1alpha1.LoadBalancingHostStatus
		// A host that drains and is dropped left in order, and says so itself.
		dropped := s.dropped(report) && report.host.Status.State != v1alpha1.HostDraining
		wait, overruled := r.leases.UntilOverruled(report.host, dropped, s.now)
		switch {
		case !report.valid:
			status = s.outdatedStatus(report.host)
		case overruled && wait <= 0:
			status = s.droppedStatus(report.host)
		case overruled:
			next = shared.Sooner(next, wait+10*time.Millisecond)
			continue
		default:
			continue
		}
		host := report.host
		if err := shared.ApplyStatus(ctx, r.Client, shared.HostKind, host.Name, host.ResourceVersion, status,
			fieldOwner); err != nil {
			return 0, err
		}
	}
	return next, nil
}

func (s *summary) outdatedStatus(host *v1alpha1.LoadBalancingHost) *v1alpha1.LoadBalancingHostStatus {
	unknown := string(v1alpha1.HostUnknown)
	return unknownStatus(host, v1alpha1.HostColumns{State: unknown, Stalled: unknown}, v1alpha1.ReasonReportsOutdated,
		"the agent has not reported since "+lastReport(host), s.now)
}

func (s *summary) droppedStatus(host *v1alpha1.LoadBalancingHost) *v1alpha1.LoadBalancingHostStatus {
	unknown := string(v1alpha1.HostUnknown)
	return unknownStatus(host, v1alpha1.HostColumns{State: unknown, Members: "-", Buckets: "-", Stalled: unknown},
		v1alpha1.ReasonMemberLost,
		fmt.Sprintf("the peers %s dropped the host, and its agent has not reported since %s", ids(s.main.members),
			lastReport(host)), s.now)
}

func lastReport(host *v1alpha1.LoadBalancingHost) string {
	return host.Status.RenewTime.UTC().Format(time.RFC3339)
}

// unknownStatus has only what the manager changes.
func unknownStatus(
	host *v1alpha1.LoadBalancingHost, columns v1alpha1.HostColumns, reason, words string, now time.Time,
) *v1alpha1.LoadBalancingHostStatus {
	status := &v1alpha1.LoadBalancingHostStatus{State: v1alpha1.HostUnknown, Columns: columns}
	for i := range host.Status.Conditions {
		was := &host.Status.Conditions[i]
		status.Conditions = append(status.Conditions, shared.NextCondition(was, metav1.Condition{
			Type: was.Type, Status: metav1.ConditionUnknown, Reason: reason, ObservedGeneration: was.ObservedGeneration,
			Message: fmt.Sprintf("%s; before that: %s", words, was.Message),
		}, now))
	}
	return status
}
