// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// markOutdated sets the state of hosts whose report ran out to Unknown, as Kubernetes does with nodes whose kubelet is silent:
// else "kubectl get lbh" and "kubectl wait" would show the last words of a dead host for ever. The agent takes the
// fields back with its next report.
func (r *StatusReconciler) markOutdated(ctx context.Context, reports []report, now time.Time) error {
	for i := range reports {
		host := reports[i].host
		if !reports[i].reported || reports[i].fresh || host.Status.State == v1alpha1.HostUnknown {
			continue
		}
		status := outdatedStatus(host, now)
		if err := applyStatus(ctx, r.Client, hostKind, host.Name, host.ResourceVersion, &status, statusOwner); err != nil {
			return err
		}
	}
	return nil
}

// outdatedStatus has only what the manager changes.
func outdatedStatus(host *v1alpha1.LoadBalancingHost, now time.Time) v1alpha1.LoadBalancingHostStatus {
	unknown := string(v1alpha1.HostUnknown)
	status := v1alpha1.LoadBalancingHostStatus{
		State:   v1alpha1.HostUnknown,
		Columns: v1alpha1.HostColumns{State: unknown, Stalled: unknown},
	}
	for i := range host.Status.Conditions {
		was := &host.Status.Conditions[i]
		status.Conditions = append(status.Conditions, nextCondition(was, metav1.Condition{
			Type: was.Type, Status: metav1.ConditionUnknown, Reason: v1alpha1.ReasonReportsOutdated,
			ObservedGeneration: was.ObservedGeneration,
			Message: fmt.Sprintf("the agent has not reported since %s; before that: %s",
				host.Status.RenewTime.UTC().Format(time.RFC3339), was.Message),
		}, now))
	}
	return status
}
