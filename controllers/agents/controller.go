// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// +kubebuilder:rbac:groups=apps,namespace=kube-wlbs-system,resources=daemonsets,resourceNames=kube-wlbs-agent,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancinghosts,verbs=get;list;watch

// fieldOwner is this reconciler in managedFields.
const fieldOwner = client.FieldOwner("wlbs-agents")

// Reconciler keeps the DaemonSet of the agents.
type Reconciler struct {
	// Client writes, and reads from a cache.
	Client client.Client
	// API reads from the API server: a cache that lags must not end the agents of a cluster that it does not know yet.
	API client.Reader
	// Namespace is the operator's own, in which the agents run.
	Namespace string
	Settings  Settings
}

// Reconcile implements reconcile.Reconciler for the one DaemonSet.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	needed, err := needed(ctx, r.Client)
	if err != nil {
		return ctrl.Result{}, err
	}
	if needed {
		return ctrl.Result{}, r.apply(ctx)
	}
	return ctrl.Result{}, r.remove(ctx)
}

// needed reports whether there is anything that agents have to serve, or to take away from nodes.
func needed(ctx context.Context, reader client.Reader) (bool, error) {
	var clusters v1alpha1.LoadBalancingClusterList
	if err := reader.List(ctx, &clusters, client.Limit(1)); err != nil {
		return false, fmt.Errorf("list LoadBalancingClusters: %w", err)
	}
	var hosts v1alpha1.LoadBalancingHostList
	if err := reader.List(ctx, &hosts, client.Limit(1)); err != nil {
		return false, fmt.Errorf("list LoadBalancingHosts: %w", err)
	}
	return len(clusters.Items)+len(hosts.Items) > 0, nil
}

// apply writes the DaemonSet if it is not there, or if what this manager wants is not what was wanted last. What people
// did to it in between stays, so that "kubectl rollout undo" does.
func (r *Reconciler) apply(ctx context.Context) error {
	wanted := daemonSet(r.Namespace, &r.Settings)
	revision, err := revisionOf(wanted)
	if err != nil {
		return err
	}
	existing := &appsv1.DaemonSet{}
	switch err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: Name}, existing); {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("get DaemonSet %s: %w", Name, err)
	case err == nil && existing.Annotations[revisionAnnotation] == revision:
		return nil
	}
	wanted.WithAnnotations(map[string]string{revisionAnnotation: revision})
	if err := r.Client.Apply(ctx, wanted, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply DaemonSet %s: %w", Name, err)
	}
	logf.FromContext(ctx).Info("Applied the DaemonSet of the agents", "image", r.Settings.Image, "revision", revision)
	return nil
}

func (r *Reconciler) remove(ctx context.Context) error {
	existing := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: Name}}
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(existing), existing); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !existing.DeletionTimestamp.IsZero() {
		return nil
	}
	if needed, err := needed(ctx, r.API); needed || err != nil {
		return err
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, existing, client.Preconditions{UID: &existing.UID})); err != nil {
		return fmt.Errorf("delete DaemonSet %s: %w", Name, err)
	}
	logf.FromContext(ctx).Info("No cluster is left, the agents end")
	return nil
}
