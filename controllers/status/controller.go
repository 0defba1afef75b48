// SPDX-License-Identifier: Apache-2.0

package status

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
)

// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters/status;loadbalancinghosts/status,verbs=patch

// fieldOwner is this reconciler in managedFields.
const fieldOwner = client.FieldOwner("wlbs-status")

// Reconciler puts together what the hosts of a cluster report.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	leases shared.Leases
}

// Reconcile implements reconcile.Reconciler for one LoadBalancingCluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.leases.Retain(req.Name, nil)
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("get LoadBalancingCluster %s: %w", req.Name, err)
	}
	hosts, err := shared.HostsOf(ctx, r.Client, cluster.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	world, err := virtualips.Look(ctx, r.Client, client.UnsafeDisableDeepCopy)
	if err != nil {
		return ctrl.Result{}, err
	}

	now := r.now()
	r.leases.Retain(cluster.Name, hosts)
	reports, next := r.reports(hosts, now)
	s := summarize(observation{cluster: cluster, reports: reports, problems: virtualips.Explain(world, cluster), now: now})
	// What went away in the meantime needs no status; its deletion brings us here again.
	again, err := r.markSilent(ctx, s)
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	status := s.status()
	if err := r.write(ctx, cluster, &status, hosts); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	return ctrl.Result{RequeueAfter: shared.Sooner(next, again)}, nil
}

// reports dates the hosts' reports. next is when one of them runs out unless it is renewed, zero for never.
func (r *Reconciler) reports(hosts []v1alpha1.LoadBalancingHost, now time.Time) (reports []report, next time.Duration) {
	soonest := func(d time.Duration) {
		// A moment later, so that the comparison that follows cannot fall on the other side.
		if d += 10 * time.Millisecond; next == 0 || d < next {
			next = d
		}
	}
	for i := range hosts {
		left, reported := r.leases.Left(&hosts[i], now)
		valid := reported && left > 0
		reports = append(reports, report{
			host: &hosts[i], reported: reported, valid: valid, fresh: valid && hosts[i].Status.State != v1alpha1.HostUnknown,
		})
		if valid {
			soonest(left)
		}
		if grace := joinGrace - now.Sub(hosts[i].CreationTimestamp.Time); !reported && grace > 0 {
			soonest(grace)
		}
	}
	return reports, next
}

// write applies a status that differs from the present one, and emits Events about what changed. It fails with a
// conflict when the cluster that the status was computed from is no longer the newest: no change has two Events.
func (r *Reconciler) write(
	ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, status *v1alpha1.LoadBalancingClusterStatus,
	hosts []v1alpha1.LoadBalancingHost,
) error {
	if equality.Semantic.DeepEqual(ownPart(&cluster.Status), ownPart(status)) {
		return nil
	}
	if err := shared.ApplyStatus(ctx, r.Client, shared.ClusterKind, cluster.Name, cluster.ResourceVersion, status,
		fieldOwner); err != nil {
		return err
	}
	for _, n := range notices(&cluster.Status, status) {
		// An Event's note may be 1 KiB long.
		note := shared.Truncate(n.note, 1000)
		at := slices.IndexFunc(hosts, func(h v1alpha1.LoadBalancingHost) bool { return h.Spec.NodeName == n.node })
		if at < 0 {
			r.Recorder.Eventf(cluster, nil, n.eventType, n.reason, "Observe", "%s", note)
			continue
		}
		r.Recorder.Eventf(cluster, &hosts[at], n.eventType, n.reason, "Observe", "%s", note)
	}
	return nil
}

// ownPart returns a status without what other reconcilers write, in a defined order.
func ownPart(status *v1alpha1.LoadBalancingClusterStatus) *v1alpha1.LoadBalancingClusterStatus {
	c := status.DeepCopy()
	c.VirtualIPs = nil
	c.Conditions = slices.DeleteFunc(c.Conditions,
		func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionHostsAssigned })
	slices.SortFunc(c.Conditions, func(a, b metav1.Condition) int { return cmp.Compare(a.Type, b.Type) })
	slices.SortFunc(c.Hosts, func(a, b v1alpha1.ClusterHostStatus) int { return cmp.Compare(a.NodeName, b.NodeName) })
	return c
}

func (r *Reconciler) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}
