// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
)

// Setup adds the reconciler to a manager.
func Setup(mgr manager.Manager, r *Reconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("status").
		For(&v1alpha1.LoadBalancingCluster{}).
		Watches(&v1alpha1.LoadBalancingCluster{}, handler.EnqueueRequestsFromMapFunc(clustersOnSameVIP(mgr.GetClient())),
			builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{},
				virtualips.AssignedChanges()))).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(shared.AllClusters(mgr.GetClient())),
			builder.WithPredicates(virtualips.AddressChanges())).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(shared.ClusterOfHost)).
		Complete(shared.RetryConflicts(r))
}

// clustersOnSameVIP are those whose status changes when this cluster comes, changes or goes.
func clustersOnSameVIP(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		cluster, ok := obj.(*v1alpha1.LoadBalancingCluster)
		if !ok {
			return nil
		}
		return shared.RequestsFor(ctx, reader, func(other *v1alpha1.LoadBalancingCluster) bool {
			return other.Name != cluster.Name && slices.ContainsFunc(other.Spec.VirtualIPs, func(ip string) bool {
				return slices.Contains(cluster.Spec.VirtualIPs, ip) || slices.Contains(cluster.Status.VirtualIPs, ip)
			})
		})
	}
}
