// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// reconcileDelete removes all hosts of a cluster and then lets the cluster go. Until then the cluster keeps the agents
// alive, for only they can take the virtual IPs, filters and MAC addresses off the nodes.
func (r *Reconciler) reconcileDelete(
	ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, hosts []v1alpha1.LoadBalancingHost,
	nodes map[string]*corev1.Node,
) (ctrl.Result, error) {
	if err := r.deleteHosts(ctx, notDeleted(hosts)); err != nil {
		return ctrl.Result{}, err
	}
	if len(hosts) > 0 {
		wait, err := r.releaseLost(ctx, cluster, hosts, nodes)
		return ctrl.Result{RequeueAfter: wait}, err
	}
	before := cluster.DeepCopy()
	if !controllerutil.RemoveFinalizer(cluster, v1alpha1.ClusterFinalizer) {
		return ctrl.Result{}, nil
	}
	err := r.Client.Patch(ctx, cluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}),
		fieldOwner)
	if client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("remove finalizer of LoadBalancingCluster %s: %w", cluster.Name, err)
	}
	return ctrl.Result{}, nil
}

// deleteHosts asks the hosts' agents to tear down: they remove the finalizer when nothing is left on the node.
func (r *Reconciler) deleteHosts(ctx context.Context, hosts []*v1alpha1.LoadBalancingHost) error {
	for _, h := range hosts {
		if err := client.IgnoreNotFound(r.Client.Delete(ctx, h, client.Preconditions{UID: &h.UID})); err != nil {
			return fmt.Errorf("delete LoadBalancingHost %s: %w", h.Name, err)
		}
		logf.FromContext(ctx).Info("Node is no longer a host", "node", h.Spec.NodeName, "hostID", h.Spec.HostID)
	}
	return nil
}

// releaseLost removes the finalizer of hosts whose agent cannot do it any more: where the node is gone, unless an agent
// reports from there all the same, and after NodeLostAfter where it is not ready. It returns when to look again, zero
// for never.
func (r *Reconciler) releaseLost(
	ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, hosts []v1alpha1.LoadBalancingHost,
	nodes map[string]*corev1.Node,
) (time.Duration, error) {
	var next time.Duration
	for i := range hosts {
		h := &hosts[i]
		if h.DeletionTimestamp.IsZero() {
			continue
		}
		node, exists := nodes[h.Spec.NodeName]
		if !exists {
			if left := r.teardownLeft(h); left > 0 {
				next = shared.Sooner(next, left+10*time.Millisecond)
				continue
			}
			if _, err := r.release(ctx, h); err != nil {
				return 0, err
			}
			continue
		}
		wait, lost := r.untilLost(h, node)
		if lost && wait <= 0 {
			if err := r.releaseUncleanly(ctx, cluster, h); err != nil {
				return 0, err
			}
			continue
		}
		if lost {
			next = shared.Sooner(next, wait)
		}
	}
	return next, nil
}

// releaseUncleanly lets a host go and says what that may leave on its node. cluster is nil where it is gone.
func (r *Reconciler) releaseUncleanly(
	ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost,
) error {
	released, err := r.release(ctx, h)
	if err != nil || !released {
		return err
	}
	var regarding, related runtime.Object = h, nil
	if cluster != nil {
		regarding, related = cluster, h
	}
	r.Recorder.Eventf(regarding, related, corev1.EventTypeWarning, "HostRemovedUncleanly", "RemoveHost",
		"node %s has not been ready for %s: host %d was removed without its agent; virtual IPs, MAC filters and BPF programs under /sys/fs/bpf/kube-wlbs/clusters/%s may be left there until it restarts, or until \"wlbs-agent cleanup --cluster %s\" is run on it",
		h.Spec.NodeName, r.nodeLostAfter(), h.Spec.HostID, h.Spec.ClusterName, h.Spec.ClusterName)
	return nil
}

// untilLost returns how long to wait for the agent on a node that is not ready.
func (r *Reconciler) untilLost(h *v1alpha1.LoadBalancingHost, node *corev1.Node) (wait time.Duration, notReady bool) {
	since, notReady := notReadySince(node)
	if !notReady {
		return 0, false
	}
	if h.DeletionTimestamp.After(since) {
		since = h.DeletionTimestamp.Time
	}
	return r.nodeLostAfter() - r.now().Sub(since), true
}

func (r *Reconciler) nodeLostAfter() time.Duration {
	if r.NodeLostAfter == 0 {
		return DefaultNodeLostAfter
	}
	return r.NodeLostAfter
}

// release removes the finalizer that an agent would remove. It reports whether it was this call that did.
func (r *Reconciler) release(ctx context.Context, h *v1alpha1.LoadBalancingHost) (bool, error) {
	released := h.DeepCopy()
	if !controllerutil.RemoveFinalizer(released, v1alpha1.Finalizer) {
		return false, nil
	}
	err := r.Client.Patch(ctx, released, client.MergeFromWithOptions(h, client.MergeFromWithOptimisticLock{}), fieldOwner)
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("remove finalizer of LoadBalancingHost %s: %w", h.Name, err)
	}
	logf.FromContext(ctx).Info("Let a host go without its agent", "node", h.Spec.NodeName, "hostID", h.Spec.HostID)
	return true, nil
}

// notDeleted are the hosts that nobody deleted yet.
func notDeleted(hosts []v1alpha1.LoadBalancingHost) []*v1alpha1.LoadBalancingHost {
	var out []*v1alpha1.LoadBalancingHost
	for i := range hosts {
		if hosts[i].DeletionTimestamp.IsZero() {
			out = append(out, &hosts[i])
		}
	}
	return out
}

// reconcileOrphans removes hosts whose cluster was removed by force. Their agents still run, and take away what they
// set up.
func (r *Reconciler) reconcileOrphans(
	ctx context.Context, hosts []v1alpha1.LoadBalancingHost, nodes map[string]*corev1.Node,
) (ctrl.Result, error) {
	if err := r.deleteHosts(ctx, notDeleted(hosts)); err != nil {
		return ctrl.Result{}, err
	}
	wait, err := r.releaseLost(ctx, nil, hosts, nodes)
	return ctrl.Result{RequeueAfter: wait}, err
}
