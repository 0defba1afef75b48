// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/internal/hostspec"
)

const (
	// taintToBeDeleted is put by the cluster autoscaler on a node that it is about to delete. Kubernetes' own service
	// controller takes such a node out of external load balancers too.
	taintToBeDeleted = "ToBeDeletedByClusterAutoscaler"
	// removalGrace is how long after the end of its drain an agent may take to say so.
	removalGrace = 15 * time.Second
	// teardownGrace is how long the agent on a node whose Node object is gone may take to tear down.
	teardownGrace = 30 * time.Second
)

// hostSpec is what a node's host shall be: what spec.hosts says, or Drained for the sake of its node.
func hostSpec(
	cluster *v1alpha1.LoadBalancingCluster, node string, id int32, maintenance *v1alpha1.HostMaintenance,
) v1alpha1.LoadBalancingHostSpec {
	spec := hostspec.Of(cluster, node, id, nil)
	if maintenance != nil {
		spec.DesiredState, spec.Maintenance = v1alpha1.DesiredStateDrained, maintenance
		if spec.DrainTimeoutSeconds == nil && departs(maintenance.Reason) {
			limit := v1alpha1.DefaultRemovalDrainSeconds
			spec.DrainTimeoutSeconds = &limit
		}
	}
	return spec
}

// departs reports whether a drain for that reason ends in a removal, and is bounded therefore.
func departs(reason v1alpha1.MaintenanceReason) bool {
	return reason != v1alpha1.MaintenanceNodeExcluded
}

// nodeMaintenance is why the host on a selected node shall take no new connections, "" if it may. That a node is
// cordoned is no reason: it says where pods may be started, not who serves.
func nodeMaintenance(node *corev1.Node) v1alpha1.MaintenanceReason {
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return v1alpha1.MaintenanceNodeExcluded
	}
	for i := range node.Spec.Taints {
		if node.Spec.Taints[i].Key == taintToBeDeleted {
			return v1alpha1.MaintenanceNodeDeleted
		}
	}
	return ""
}

// maintain drains the host on a selected node if the node asks for it. h is nil where there is no host yet.
func (p *hostPlan) maintain(
	cluster *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost, node *corev1.Node, now time.Time,
) {
	config := cluster.Spec.HostConfigOf(node.Name)
	reason := nodeMaintenance(node)
	if reason == "" || config.EffectiveDesiredState() != v1alpha1.DesiredStateStarted {
		return
	}
	p.maintenance[node.Name] = since(h, reason, now)
}

// since continues the maintenance that a host is under, or begins one.
func since(h *v1alpha1.LoadBalancingHost, reason v1alpha1.MaintenanceReason, now time.Time) *v1alpha1.HostMaintenance {
	if h != nil && h.Spec.Maintenance != nil && h.Spec.Maintenance.Reason == reason && h.Spec.Maintenance.Since != nil {
		return h.Spec.Maintenance
	}
	begin := metav1.NewTime(now.Truncate(time.Second))
	return &v1alpha1.HostMaintenance{Reason: reason, Since: &begin}
}

// depart drains a host whose node is to be none any longer, and removes it when that is over, or nobody is there to
// drain. node is nil where it is gone.
func (r *Reconciler) depart(
	cluster *v1alpha1.LoadBalancingCluster, plan *hostPlan, h *v1alpha1.LoadBalancingHost, node *corev1.Node,
) {
	reason := v1alpha1.MaintenanceNodeNotSelected
	if node == nil || !node.DeletionTimestamp.IsZero() {
		reason = v1alpha1.MaintenanceNodeDeleted
	}
	now := r.now()
	maintenance := since(h, reason, now)
	left := r.drainLeft(cluster, h, maintenance, now)
	if left <= 0 {
		plan.remove = append(plan.remove, h)
		return
	}
	plan.maintenance[h.Spec.NodeName] = maintenance
	plan.departing = append(plan.departing, h.Spec.NodeName)
	plan.again = shared.Sooner(plan.again, left+10*time.Millisecond)
}

// drainLeft is for how long a departing host may go on draining, 0 or less where there is nothing to wait for: its
// agent is silent, its peers dropped it, it is stopped, or the time is over.
func (r *Reconciler) drainLeft(
	cluster *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost, maintenance *v1alpha1.HostMaintenance,
	now time.Time,
) time.Duration {
	config := cluster.Spec.HostConfigOf(h.Spec.NodeName)
	switch config.EffectiveDesiredState() {
	case v1alpha1.DesiredStateStopped, v1alpha1.DesiredStateSuspended:
		return 0
	case v1alpha1.DesiredStateStarted, v1alpha1.DesiredStateDrained:
	}
	switch h.Status.State {
	case v1alpha1.HostConverging, v1alpha1.HostConverged, v1alpha1.HostDraining:
	default:
		return 0
	}
	lease, reported := r.leases.Left(h, now)
	if !reported {
		return 0
	}
	limit := *hostSpec(cluster, h.Spec.NodeName, h.Spec.HostID, maintenance).DrainTimeoutSeconds
	end := maintenance.Since.Add(time.Duration(limit)*time.Second + removalGrace)
	return min(lease, end.Sub(now))
}

// teardownLeft is for how long to wait for the agent on a node whose Node object is gone: it may still run.
func (r *Reconciler) teardownLeft(h *v1alpha1.LoadBalancingHost) time.Duration {
	now := r.now()
	lease, reported := r.leases.Left(h, now)
	if !reported || h.Status.State == v1alpha1.HostUnknown {
		return 0
	}
	return min(lease, h.DeletionTimestamp.Add(teardownGrace).Sub(now))
}
