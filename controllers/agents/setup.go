// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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

// Setup adds the reconciler to a manager.
func Setup(mgr manager.Manager, r *Reconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("agents").
		For(&v1alpha1.LoadBalancingCluster{}, builder.WithPredicates(shared.SpecOrDeletion())).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(shared.ClusterOfHost), builder.WithPredicates(shared.SpecOrDeletion())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOfAgent), builder.WithPredicates(podChanges())).
		Owns(&appsv1.DaemonSet{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.ClusterRole{}).
		Owns(&rbacv1.ClusterRoleBinding{}).
		Owns(&rbacv1.Role{}).
		Owns(&rbacv1.RoleBinding{}).
		Complete(shared.RetryConflicts(r))
}

func clusterOfAgent(_ context.Context, obj client.Object) []reconcile.Request {
	cluster := obj.GetLabels()[v1alpha1.ClusterLabel]
	if cluster == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: cluster}}}
}

// podChanges lets through what a rollout waits for.
func podChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*corev1.Pod)
		after, okAfter := e.ObjectNew.(*corev1.Pod)
		return !okBefore || !okAfter || podReady(before) != podReady(after) ||
			before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero()
	}}
}
