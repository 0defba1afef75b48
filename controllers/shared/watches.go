// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"context"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// RetryConflicts makes a conflict what it is, a sign to look again at once, and no error.
func RetryConflicts(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		result, err := r.Reconcile(ctx, req)
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
		}
		return result, err
	})
}

// Sooner returns the shorter of two waits, of which zero stands for never.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// ClusterOfHost maps a LoadBalancingHost to its cluster.
func ClusterOfHost(_ context.Context, obj client.Object) []reconcile.Request {
	host, ok := obj.(*v1alpha1.LoadBalancingHost)
	if !ok {
		return nil
	}
	return []reconcile.Request{requestFor(host.Spec.ClusterName)}
}

// AllClusters maps any object to all LoadBalancingClusters.
func AllClusters(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) []reconcile.Request {
		return RequestsFor(ctx, reader, func(*v1alpha1.LoadBalancingCluster) bool { return true })
	}
}

// RequestsFor returns a request for each LoadBalancingCluster that is wanted.
func RequestsFor(
	ctx context.Context, reader client.Reader, wanted func(*v1alpha1.LoadBalancingCluster) bool,
) []reconcile.Request {
	var clusters v1alpha1.LoadBalancingClusterList
	if err := reader.List(ctx, &clusters); err != nil {
		// The cache does not fail once it is synced, and handlers do not run before.
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list LoadBalancingClusters")
		return nil
	}
	var requests []reconcile.Request
	for i := range clusters.Items {
		if wanted(&clusters.Items[i]) {
			requests = append(requests, requestFor(clusters.Items[i].Name))
		}
	}
	return requests
}

func requestFor(cluster string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: cluster}}
}

// SpecOrDeletion lets through what is not only a change of status.
func SpecOrDeletion() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
			!slices.Equal(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers())
	}}
}
