// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters/status,verbs=patch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancinghosts,verbs=get;list;watch;patch

// fieldOwner is this reconciler in managedFields.
const fieldOwner = client.FieldOwner("wlbs-virtual-ips")

// Reconciler writes the virtual IPs that are assigned to clusters, and those that hosts are to serve. Nobody else
// writes either.
type Reconciler struct {
	// Client writes, and reads from a cache, which says whether there is anything to do.
	Client client.Client
	// API reads from the API server. What is written is decided by it alone.
	API client.Reader
}

// Reconcile implements reconcile.Reconciler for all virtual IPs at once: one request stands for all.
func (r *Reconciler) Reconcile(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
	cached, err := Look(ctx, r.Client, client.UnsafeDisableDeepCopy)
	if err != nil {
		return ctrl.Result{}, err
	}
	if Decide(cached).Empty() {
		return ctrl.Result{}, nil
	}
	world, err := Look(ctx, r.API)
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{}, r.carryOut(ctx, world, Decide(world))
}

// carryOut does all writes that it can, so that one object that cannot be written delays no others.
func (r *Reconciler) carryOut(ctx context.Context, w World, d Decision) error {
	var failed []error
	for i := range w.Clusters {
		c := &w.Clusters[i]
		if ips, changes := d.Assigned[c.Name]; changes {
			failed = append(failed, r.writeAssigned(ctx, c, ips))
		}
	}
	for i := range w.Hosts {
		h := &w.Hosts[i]
		if ips, changes := d.Served[h.Name]; changes {
			failed = append(failed, r.writeServed(ctx, h, ips))
		}
	}
	return worst(failed)
}

// worst returns what is to be reported of several errors: conflicts, after which all is decided anew, only where there
// is nothing else.
func worst(failed []error) error {
	serious := slices.DeleteFunc(slices.Clone(failed),
		func(err error) bool { return err == nil || apierrors.IsConflict(err) })
	if len(serious) > 0 {
		return errors.Join(serious...)
	}
	return errors.Join(failed...)
}

func (r *Reconciler) writeAssigned(ctx context.Context, c *v1alpha1.LoadBalancingCluster, ips []string) error {
	before := c.DeepCopy()
	c.Status.VirtualIPs = ips
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := client.IgnoreNotFound(r.Client.Status().Patch(ctx, c, patch, fieldOwner)); err != nil {
		return fmt.Errorf("virtual IPs of LoadBalancingCluster %s: %w", c.Name, err)
	}
	logf.FromContext(ctx).Info("Virtual IPs of a cluster changed", "cluster", c.Name, "before", before.Status.VirtualIPs,
		"after", ips)
	return nil
}

func (r *Reconciler) writeServed(ctx context.Context, h *v1alpha1.LoadBalancingHost, ips []string) error {
	before := h.DeepCopy()
	h.Spec.VirtualIPs = ips
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := client.IgnoreNotFound(r.Client.Patch(ctx, h, patch, fieldOwner)); err != nil {
		return fmt.Errorf("virtual IPs of LoadBalancingHost %s: %w", h.Name, err)
	}
	return nil
}
