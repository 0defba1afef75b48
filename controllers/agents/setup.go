// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
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

// Setup adds the reconciler to a manager. A DaemonSet that is there at the start is an event, too: the last cluster may
// have gone while no manager ran.
func Setup(mgr manager.Manager, r *Reconciler) error {
	request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: Name}}
	daemonSet := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{request}
	})
	comesOrGoes := predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
	return ctrl.NewControllerManagedBy(mgr).Named("agents").
		Watches(&v1alpha1.LoadBalancingCluster{}, daemonSet, builder.WithPredicates(comesOrGoes)).
		Watches(&v1alpha1.LoadBalancingHost{}, daemonSet, builder.WithPredicates(comesOrGoes)).
		Watches(&appsv1.DaemonSet{}, daemonSet, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(shared.RetryConflicts(r))
}
