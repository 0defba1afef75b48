// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Leader election and its events, in the manager's own namespace:
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-wlbs-system,resources=leases,verbs=get;create;update;patch
// +kubebuilder:rbac:groups="",namespace=kube-wlbs-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,namespace=kube-wlbs-system,resources=events,verbs=create;patch

// Options are what the reconcilers need to know of their surroundings.
type Options struct {
	// Namespace is the operator's own, in which the agents run.
	Namespace string
	// AgentImage is the image of the agents.
	AgentImage string
	// NodeLostAfter is as DefaultNodeLostAfter says; zero means that.
	NodeLostAfter time.Duration
}

// AddToScheme registers all types that the manager reads or writes.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// CacheOptions keep out of the manager's memory what is none of its business: other namespaces' DaemonSets, other
// components' roles, and those parts of a Node that nobody here reads.
func CacheOptions(namespace string) cache.Options {
	ours := labels.SelectorFromSet(labels.Set{managedByLabel: managedBy})
	namespaced := cache.ByObject{Namespaces: map[string]cache.Config{namespace: {LabelSelector: ours}}}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.DaemonSet{}:          namespaced,
			&corev1.ServiceAccount{}:     namespaced,
			&corev1.Pod{}:                namespaced,
			&rbacv1.Role{}:               namespaced,
			&rbacv1.RoleBinding{}:        namespaced,
			&rbacv1.ClusterRole{}:        {Label: ours},
			&rbacv1.ClusterRoleBinding{}: {Label: ours},
			&corev1.Node{}:               {Transform: trimNode},
		},
	}
}

func trimNode(obj any) (any, error) {
	if node, ok := obj.(*corev1.Node); ok {
		node.ManagedFields, node.Annotations = nil, nil
		node.Status = corev1.NodeStatus{Conditions: node.Status.Conditions}
	}
	return obj, nil
}

// Setup adds all reconcilers to a manager.
func Setup(mgr manager.Manager, o Options) error {
	recorder := &boundedRecorder{EventRecorder: mgr.GetEventRecorder("wlbs-manager"), scheme: mgr.GetScheme()}
	for name, setup := range map[string]func() error{
		"hosts": func() error {
			return setupHosts(mgr, &HostsReconciler{Client: mgr.GetClient(), Recorder: recorder, NodeLostAfter: o.NodeLostAfter})
		},
		"dataplane": func() error {
			return setupDataplane(mgr, &DataplaneReconciler{Client: mgr.GetClient(), Namespace: o.Namespace, AgentImage: o.AgentImage})
		},
		"status": func() error {
			return setupStatus(mgr, &StatusReconciler{Client: mgr.GetClient(), Recorder: recorder})
		},
	} {
		if err := setup(); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}

func setupHosts(mgr manager.Manager, r *HostsReconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("hosts").
		For(&v1alpha1.LoadBalancingCluster{}, builder.WithPredicates(specOrDeletion())).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(clusterOfHost),
			builder.WithPredicates(predicate.Or[client.Object](specOrDeletion(), stateChanges()))).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(allClusters(mgr.GetClient())), builder.WithPredicates(nodeChanges())).
		Complete(retryConflicts(r))
}

func setupDataplane(mgr manager.Manager, r *DataplaneReconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("dataplane").
		For(&v1alpha1.LoadBalancingCluster{}, builder.WithPredicates(specOrDeletion())).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(clusterOfHost), builder.WithPredicates(specOrDeletion())).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOfAgent), builder.WithPredicates(podChanges())).
		Owns(&appsv1.DaemonSet{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&corev1.ServiceAccount{}).
		Owns(&rbacv1.ClusterRole{}).
		Owns(&rbacv1.ClusterRoleBinding{}).
		Owns(&rbacv1.Role{}).
		Owns(&rbacv1.RoleBinding{}).
		Complete(retryConflicts(r))
}

func setupStatus(mgr manager.Manager, r *StatusReconciler) error {
	return ctrl.NewControllerManagedBy(mgr).Named("status").
		For(&v1alpha1.LoadBalancingCluster{}).
		Watches(&v1alpha1.LoadBalancingCluster{}, handler.EnqueueRequestsFromMapFunc(clustersOnSameVIP(mgr.GetClient())),
			builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.LoadBalancingHost{}, handler.EnqueueRequestsFromMapFunc(clusterOfHost)).
		Complete(retryConflicts(r))
}

// retryConflicts makes a conflict what it is, a sign to look again at once, and no error.
func retryConflicts(r reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
		result, err := r.Reconcile(ctx, req)
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: 50 * time.Millisecond}, nil
		}
		return result, err
	})
}

func clusterOfHost(_ context.Context, obj client.Object) []reconcile.Request {
	host, ok := obj.(*v1alpha1.LoadBalancingHost)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: host.Spec.ClusterName}}}
}

func clusterOfAgent(_ context.Context, obj client.Object) []reconcile.Request {
	cluster := obj.GetLabels()[v1alpha1.ClusterLabel]
	if cluster == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: cluster}}}
}

func allClusters(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) []reconcile.Request {
		return requestsFor(ctx, reader, func(*v1alpha1.LoadBalancingCluster) bool { return true })
	}
}

// clustersOnSameVIP are those whose status changes when this cluster comes, changes or goes.
func clustersOnSameVIP(reader client.Reader) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		cluster, ok := obj.(*v1alpha1.LoadBalancingCluster)
		if !ok {
			return nil
		}
		return requestsFor(ctx, reader, func(other *v1alpha1.LoadBalancingCluster) bool {
			return other.Name != cluster.Name && slices.ContainsFunc(other.Spec.VirtualIPs, func(ip string) bool {
				return slices.Contains(cluster.Spec.VirtualIPs, ip)
			})
		})
	}
}

func requestsFor(ctx context.Context, reader client.Reader, wanted func(*v1alpha1.LoadBalancingCluster) bool) []reconcile.Request {
	var clusters v1alpha1.LoadBalancingClusterList
	if err := reader.List(ctx, &clusters); err != nil {
		// The cache does not fail once it is synced, and handlers do not run before.
		ctrl.LoggerFrom(ctx).Error(err, "Cannot list LoadBalancingClusters")
		return nil
	}
	var requests []reconcile.Request
	for i := range clusters.Items {
		if wanted(&clusters.Items[i]) {
			requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Name: clusters.Items[i].Name}})
		}
	}
	return requests
}

// specOrDeletion lets through what is not only a change of status.
func specOrDeletion() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
			e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() ||
			!slices.Equal(e.ObjectOld.GetFinalizers(), e.ObjectNew.GetFinalizers())
	}}
}

// stateChanges lets through what a drain waits for.
func stateChanges() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.LoadBalancingHost)
		after, okAfter := e.ObjectNew.(*v1alpha1.LoadBalancingHost)
		return !okBefore || !okAfter || before.Status.State != after.Status.State
	}}
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
			!equality.Semantic.DeepEqual(before.Labels, after.Labels) || !equality.Semantic.DeepEqual(before.Spec.Taints, after.Spec.Taints)
	}}
}
