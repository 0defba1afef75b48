// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
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

// Setup adds the reconciler to a manager. It works on one request at a time, for what it decides spans all clusters.
func Setup(mgr manager.Manager, r *Reconciler) error {
	all := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "all"}}}
	})
	return ctrl.NewControllerManagedBy(mgr).Named("virtualips").
		Watches(&v1alpha1.LoadBalancingCluster{}, all,
			builder.WithPredicates(predicate.Or[client.Object](shared.SpecOrDeletion(), AssignedChanges()))).
		Watches(&v1alpha1.LoadBalancingHost{}, all,
			builder.WithPredicates(predicate.Or[client.Object](shared.SpecOrDeletion(), servedChanges()))).
		Watches(&corev1.Node{}, all, builder.WithPredicates(AddressChanges())).
		Complete(shared.RetryConflicts(r))
}

// AssignedChanges lets through changes of what is assigned to a cluster.
func AssignedChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.LoadBalancingCluster)
		after, okAfter := e.ObjectNew.(*v1alpha1.LoadBalancingCluster)
		return !okBefore || !okAfter || !slices.Equal(before.Status.VirtualIPs, after.Status.VirtualIPs)
	}}
}

// servedChanges lets through a host's word that it serves or let go of an address.
func servedChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.LoadBalancingHost)
		after, okAfter := e.ObjectNew.(*v1alpha1.LoadBalancingHost)
		return !okBefore || !okAfter ||
			!slices.Equal(before.Status.Dataplane.VirtualIPs, after.Status.Dataplane.VirtualIPs) ||
			!equality.Semantic.DeepEqual(before.Status.ObservedGeneration, after.Status.ObservedGeneration)
	}}
}

// AddressChanges lets through changes of a node's addresses: not the heartbeat of its kubelet.
func AddressChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*corev1.Node)
		after, okAfter := e.ObjectNew.(*corev1.Node)
		return !okBefore || !okAfter || !equality.Semantic.DeepEqual(before.Status.Addresses, after.Status.Addresses)
	}}
}
