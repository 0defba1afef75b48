// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// reportsAs lets the agent of a node report a state with all of the cluster's members.
func (c *cluster) reportsAs(t *testing.T, cluster, node string, state v1alpha1.HostState, members ...int64) {
	t.Helper()
	list := make([]any, len(members))
	for i, id := range members {
		list[i] = id
	}
	c.report(t, cluster, node, map[string]any{"state": string(state), "members": list, "epoch": int64(1), "clusterGeneration": int64(1)})
}

func (c *cluster) updateNode(t *testing.T, name string, edit func(*corev1.Node)) {
	t.Helper()
	node := &corev1.Node{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: name}, node); err != nil {
		t.Fatal(err)
	}
	edit(node)
	if err := c.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

// waitForSpec waits until a host's desired state and maintenance are these; "" is none.
func (c *cluster) waitForSpec(t *testing.T, cluster, node string, state v1alpha1.DesiredState, reason v1alpha1.MaintenanceReason) *v1alpha1.LoadBalancingHost {
	t.Helper()
	host := &v1alpha1.LoadBalancingHost{}
	kubetest.Eventually(t, func() error {
		*host = v1alpha1.LoadBalancingHost{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: v1alpha1.HostObjectName(cluster, node)}, host); err != nil {
			return err
		}
		var is v1alpha1.MaintenanceReason
		if m := host.Spec.Maintenance; m != nil {
			is = m.Reason
		}
		if !host.DeletionTimestamp.IsZero() || host.Spec.DesiredState != state || is != reason {
			return fmt.Errorf("%s is to be %s for %q, deleted %v; want %s for %q", host.Name, host.Spec.DesiredState, is, host.DeletionTimestamp, state, reason)
		}
		return nil
	})
	return host
}

// The label that takes a node out of external load balancers drains its host, and its removal brings the host back.
func TestExcludedNodeDrains(t *testing.T) {
	c := start(t, 0)
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		c.node(t, node)
	}
	limit := int32(600)
	c.lbc(t, "excluded", func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.DrainTimeoutSeconds = &limit
		s.Hosts = []v1alpha1.HostConfig{{NodeName: "node-c", DesiredState: v1alpha1.DesiredStateStopped}}
	})
	c.waitForHosts(t, "excluded", "node-a:1", "node-b:2", "node-c:3")
	exclude := func(n *corev1.Node) { n.Labels[corev1.LabelNodeExcludeBalancers] = "" }
	c.updateNode(t, "node-b", exclude)
	c.updateNode(t, "node-c", exclude)
	host := c.waitForSpec(t, "excluded", "node-b", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeExcluded)
	if host.Spec.Maintenance.Since == nil || host.Spec.DrainTimeoutSeconds == nil || *host.Spec.DrainTimeoutSeconds != limit {
		t.Errorf("host of the excluded node: %+v", host.Spec)
	}
	// What the operator wants of a host comes first: a drain would start one that is stopped.
	c.waitForSpec(t, "excluded", "node-c", v1alpha1.DesiredStateStopped, "")
	c.waitForSpec(t, "excluded", "node-a", v1alpha1.DesiredStateStarted, "")

	c.reportsAs(t, "excluded", "node-b", v1alpha1.HostStopped, 2)
	kubetest.Eventually(t, func() error {
		for _, h := range c.getCluster(t, "excluded").Status.Hosts {
			if h.NodeName == "node-b" && !strings.Contains(h.Message, "exclude-from-external-load-balancers is taken off node node-b") {
				return fmt.Errorf("the cluster says of node-b: %q", h.Message)
			}
		}
		return nil
	})
	c.updateNode(t, "node-b", func(n *corev1.Node) { delete(n.Labels, corev1.LabelNodeExcludeBalancers) })
	c.waitForSpec(t, "excluded", "node-b", v1alpha1.DesiredStateStarted, "")
	if got := fmt.Sprint(c.hosts(t, "excluded")); got != "[node-a:1 node-b:2 node-c:3]" {
		t.Errorf("hosts are %s", got)
	}
}

// A node that the cluster autoscaler is about to delete is drained in time, and one that is cordoned only is not.
func TestCordonAloneChangesNothing(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "cordoned", nil)
	c.waitForHosts(t, "cordoned", "node-a:1", "node-b:2")
	before := c.waitForSpec(t, "cordoned", "node-a", v1alpha1.DesiredStateStarted, "")
	c.updateNode(t, "node-a", func(n *corev1.Node) {
		n.Spec.Unschedulable = true
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	})
	c.updateNode(t, "node-b", func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule})
	})
	c.waitForSpec(t, "cordoned", "node-b", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeDeleted)
	if now := c.waitForSpec(t, "cordoned", "node-a", v1alpha1.DesiredStateStarted, ""); now.Generation != before.Generation {
		t.Errorf("the host of a cordoned node was changed: %+v", now.Spec)
	}
	// It may even become a host.
	c.node(t, "node-c", corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	c.waitForSpec(t, "cordoned", "node-c", v1alpha1.DesiredStateStarted, "")
}

// A host whose node leaves the selector drains before it is removed, if its agent is there to do so, and keeps its ID so long.
func TestDeselectedNodeDrainsFirst(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "deselected", nil)
	c.waitForHosts(t, "deselected", "node-a:1", "node-b:2")
	c.reportsAs(t, "deselected", "node-a", v1alpha1.HostConverged, 1, 2)
	c.updateNode(t, "node-a", func(n *corev1.Node) { n.Labels[poolLabel] = "no" })
	host := c.waitForSpec(t, "deselected", "node-a", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeNotSelected)
	if host.Spec.DrainTimeoutSeconds == nil || *host.Spec.DrainTimeoutSeconds != v1alpha1.DefaultRemovalDrainSeconds {
		t.Errorf("the drain before a removal is not bounded: %+v", host.Spec)
	}
	c.node(t, "node-c")
	c.waitForHosts(t, "deselected", "node-a:1", "node-b:2", "node-c:3")

	// It may come back in between.
	c.updateNode(t, "node-a", func(n *corev1.Node) { n.Labels[poolLabel] = "yes" })
	c.waitForSpec(t, "deselected", "node-a", v1alpha1.DesiredStateStarted, "")

	c.updateNode(t, "node-a", func(n *corev1.Node) { n.Labels[poolLabel] = "no" })
	c.waitForSpec(t, "deselected", "node-a", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeNotSelected)
	c.reportsAs(t, "deselected", "node-a", v1alpha1.HostDraining, 1, 2, 3)
	c.waitForSpec(t, "deselected", "node-a", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeNotSelected)
	c.reportsAs(t, "deselected", "node-a", v1alpha1.HostStopped, 1)
	c.waitForHosts(t, "deselected", "node-a:1-", "node-b:2", "node-c:3")
	c.tearDown(t, "deselected", "node-a")
	c.waitForHosts(t, "deselected", "node-b:2", "node-c:3")
}

// The drain of a host that is to go ends with its time although connections are left, and with its agent's life.
func TestDrainBeforeRemovalIsBounded(t *testing.T) {
	c := start(t, 0)
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		c.node(t, node)
	}
	c.lbc(t, "bounded", nil)
	c.waitForHosts(t, "bounded", "node-a:1", "node-b:2", "node-c:3")
	c.report(t, "bounded", "node-a", map[string]any{"state": "Converged", "members": []any{int64(1)}, "leaseSeconds": int64(2)})
	c.updateNode(t, "node-a", func(n *corev1.Node) { n.Labels[poolLabel] = "no" })
	c.waitForHosts(t, "bounded", "node-a:1-", "node-b:2", "node-c:3") // its lease ran out

	// The Node object is gone, its agent is not: it drains, and is waited for to tear down.
	c.reportsAs(t, "bounded", "node-b", v1alpha1.HostConverged, 2, 3)
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}); err != nil {
		t.Fatal(err)
	}
	c.waitForSpec(t, "bounded", "node-b", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeDeleted)
	c.reportsAs(t, "bounded", "node-b", v1alpha1.HostStopped, 2)
	c.waitForHosts(t, "bounded", "node-a:1-", "node-b:2-", "node-c:3")
	c.report(t, "bounded", "node-b", map[string]any{"state": "Stopped", "members": []any{int64(2)}, "leaseSeconds": int64(1)})
	c.waitForHosts(t, "bounded", "node-a:1-", "node-c:3")

	// With the cluster everything goes at once.
	c.reportsAs(t, "bounded", "node-c", v1alpha1.HostConverged, 3)
	if err := c.Delete(t.Context(), &v1alpha1.LoadBalancingCluster{ObjectMeta: metav1.ObjectMeta{Name: "bounded"}}); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.waitForHosts(t, "bounded", "node-a:1-", "node-c:3-")
	if limit := time.Duration(v1alpha1.DefaultRemovalDrainSeconds) * time.Second; time.Since(begin) > limit {
		t.Errorf("the host of a deleted cluster was drained: it was told to go after %s", time.Since(begin))
	}
}

// A node whose deletion waits for finalizers is drained meanwhile, and its host is removed then.
func TestNodeBeingDeletedDrains(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "terminating", nil)
	c.waitForHosts(t, "terminating", "node-a:1")
	c.reportsAs(t, "terminating", "node-a", v1alpha1.HostConverged, 1)
	c.updateNode(t, "node-a", func(n *corev1.Node) { n.Finalizers = append(n.Finalizers, "test.wlbs.dev/machine") })
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}); err != nil {
		t.Fatal(err)
	}
	c.waitForSpec(t, "terminating", "node-a", v1alpha1.DesiredStateDrained, v1alpha1.MaintenanceNodeDeleted)
	c.reportsAs(t, "terminating", "node-a", v1alpha1.HostStopped, 1)
	c.waitForHosts(t, "terminating", "node-a:1-")
}
