// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// Setup adds the reconciler to a manager.
func Setup(mgr manager.Manager, r *Reconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("hosts").
		For(&v1alpha1.LoadBalancingCluster{}, builder.WithPredicates(shared.SpecOrDeletion())).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(shared.ClusterOfHost),
			builder.WithPredicates(predicate.Or[client.Object](shared.SpecOrDeletion(), stateChanges()))).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(clustersAndOrphans(mgr.GetClient())),
			builder.WithPredicates(nodeChanges())).
		Complete(shared.RetryConflicts(r))
}

// clustersAndOrphans maps a node to all clusters, and to those that are gone and have hosts on it.
func clustersAndOrphans(reader client.Reader) handler.MapFunc {
	clusters := shared.AllClusters(reader)
	return func(ctx context.Context, node client.Object) []reconcile.Request {
		requests := clusters(ctx, node)
		var hosts v1alpha1.LoadBalancingHostList
		if err := reader.List(ctx, &hosts); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Cannot list LoadBalancingHosts")
		}
		for i := range hosts.Items {
			if hosts.Items[i].Spec.NodeName == node.GetName() {
				requests = append(requests, shared.ClusterOfHost(ctx, &hosts.Items[i])...)
			}
		}
		return requests
	}
}

// stateChanges lets through what a drain waits for.
func stateChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.LoadBalancingHost)
		after, okAfter := e.ObjectNew.(*v1alpha1.LoadBalancingHost)
		return !okBefore || !okAfter || before.Status.State != after.Status.State
	}}
}

// nodeChanges lets through what decides whether a node is a host: not the heartbeat of its kubelet.
func nodeChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*corev1.Node)
		after, okAfter := e.ObjectNew.(*corev1.Node)
		if !okBefore || !okAfter {
			return true
		}
		_, notReadyBefore := notReadySince(before)
		_, notReadyAfter := notReadySince(after)
		return notReadyBefore != notReadyAfter || before.UID != after.UID ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
			!equality.Semantic.DeepEqual(before.Labels, after.Labels) ||
			!equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints)
	}}
}
