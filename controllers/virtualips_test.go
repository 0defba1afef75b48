// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

func withVIPs(ips ...string) func(*v1alpha1.LoadBalancingClusterSpec) {
	return func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = ips }
}

// waitForVIPs waits until a cluster has these addresses, and the host on the node is to serve the first ones of them, served in number.
func (c *cluster) waitForVIPs(t *testing.T, cluster, node string, served int, want ...string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		if got := c.getCluster(t, cluster).Status.VirtualIPs; !slices.Equal(got, want) {
			return fmt.Errorf("cluster %s has %v, want %v", cluster, got, want)
		}
		host := &v1alpha1.LoadBalancingHost{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: v1alpha1.HostObjectName(cluster, node)}, host); err != nil {
			return err
		}
		if !slices.Equal(host.Spec.VirtualIPs, want[:served]) {
			return fmt.Errorf("host %s is to serve %v, want %v", host.Name, host.Spec.VirtualIPs, want[:served])
		}
		return nil
	})
}

// serves does what the agent on a node does: it says that it acted on the newest spec of its host.
func (c *cluster) serves(t *testing.T, cluster, node string) {
	t.Helper()
	host := &v1alpha1.LoadBalancingHost{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: v1alpha1.HostObjectName(cluster, node)}, host); err != nil {
		t.Fatal(err)
	}
	report := convergedReport(7, "Converged as DEFAULT", int64(host.Spec.HostID))
	report["observedGeneration"] = host.Generation
	dataplane := map[string]any{"interface": "eth0"}
	if len(host.Spec.VirtualIPs) > 0 {
		var ips []any
		for _, ip := range host.Spec.VirtualIPs {
			ips = append(ips, ip)
		}
		dataplane["virtualIPs"] = ips
	}
	report["dataplane"] = dataplane
	c.report(t, cluster, node, report)
}

func (c *cluster) neverHolds(t *testing.T, cluster, ip string) {
	t.Helper()
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		if slices.Contains(c.getCluster(t, cluster).Status.VirtualIPs, ip) {
			return fmt.Errorf("cluster %s has %s", cluster, ip)
		}
		return nil
	})
}

// The cluster that had an address first keeps it. The other one waits, says whom it waits for, and gets it when no host of the first
// has it any longer.
func TestVirtualIPOfTwoClusters(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	first := c.lbc(t, "first", withVIPs("192.0.2.10"))
	c.waitForVIPs(t, "first", "node-a", 1, "192.0.2.10")
	c.serves(t, "first", "node-a")
	c.lbc(t, "second", withVIPs("192.0.2.10", "192.0.2.11"))
	c.waitForVIPs(t, "second", "node-a", 1, "192.0.2.11")
	condition := c.waitForCondition(t, "second", v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPConflict)
	for _, word := range []string{"192.0.2.10", "LoadBalancingCluster first", "delete this cluster"} {
		if !strings.Contains(condition.Message, word) {
			t.Errorf("condition does not say %q: %s", word, condition.Message)
		}
	}
	c.waitForEvent(t, "second", v1alpha1.ReasonVirtualIPConflict)
	c.waitForCondition(t, "first", v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent)

	if err := c.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "first", "node-a:1-")
	c.neverHolds(t, "second", "192.0.2.10")
	c.tearDown(t, "first", "node-a")
	c.waitForVIPs(t, "second", "node-a", 2, "192.0.2.10", "192.0.2.11")
	c.waitForCondition(t, "second", v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent)
}

// An address that a cluster no longer lists stays its own until its hosts' agents have acted on that.
func TestVirtualIPIsLetGoByAgents(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "first", withVIPs("192.0.2.10", "192.0.2.11"))
	c.waitForVIPs(t, "first", "node-a", 2, "192.0.2.10", "192.0.2.11")
	c.serves(t, "first", "node-a")
	c.update(t, "first", func(lbc *v1alpha1.LoadBalancingCluster) { lbc.Spec.VirtualIPs = []string{"192.0.2.10"} })
	c.waitForVIPs(t, "first", "node-a", 1, "192.0.2.10", "192.0.2.11")
	c.lbc(t, "second", withVIPs("192.0.2.11"))
	condition := c.waitForCondition(t, "second", v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPConflict)
	if !strings.Contains(condition.Message, "may still be served by LoadBalancingHost first.node-a") {
		t.Errorf("condition does not name the host that is waited for: %s", condition.Message)
	}
	c.neverHolds(t, "second", "192.0.2.11")
	c.serves(t, "first", "node-a")
	c.waitForVIPs(t, "first", "node-a", 1, "192.0.2.10")
	c.waitForVIPs(t, "second", "node-a", 1, "192.0.2.11")
}

func (c *cluster) setAddress(t *testing.T, node, address string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		n := &corev1.Node{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: node}, n); err != nil {
			return err
		}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeHostName, Address: node}}
		return c.Status().Update(t.Context(), n)
	})
}

// No cluster gets an address that is a node's own, be the node a host or not. A node that comes later takes no address away.
func TestVirtualIPOfNode(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "control", corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule})
	c.setAddress(t, "control", "192.0.2.20")
	c.lbc(t, "refused", withVIPs("192.0.2.20"))
	condition := c.waitForCondition(t, "refused", v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPIsNodeAddress)
	if !strings.Contains(condition.Message, "192.0.2.20 is the InternalIP of node control") {
		t.Errorf("condition does not name address and node: %s", condition.Message)
	}
	c.waitForEvent(t, "refused", v1alpha1.ReasonVirtualIPIsNodeAddress)
	c.neverHolds(t, "refused", "192.0.2.20")
	c.setAddress(t, "control", "192.0.2.21")
	c.waitForVIPs(t, "refused", "node-a", 1, "192.0.2.20")

	c.setAddress(t, "control", "192.0.2.20")
	condition = c.waitForCondition(t, "refused", v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPIsNodeAddress)
	if !strings.Contains(condition.Message, "is served") {
		t.Errorf("condition does not say that the address is served: %s", condition.Message)
	}
	c.waitForVIPs(t, "refused", "node-a", 1, "192.0.2.20")
}

// frozen answers lists with what was there when it was made, as a cache does that lags.
type frozen struct {
	client.Client
	world virtualips.World
}

func (f *frozen) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch into := list.(type) {
	case *v1alpha1.LoadBalancingClusterList:
		into.Items = f.world.Clusters
	case *v1alpha1.LoadBalancingHostList:
		into.Items = f.world.Hosts
	case *corev1.NodeList:
		into.Items = f.world.Nodes
	default:
		return errors.ErrUnsupported
	}
	return nil
}

// A manager that has just become the leader may have a cache that is behind what the manager before it wrote.
func TestLaggingCacheGivesNoAddressTwice(t *testing.T) {
	c := connect(t)
	t.Cleanup(func() { c.clean(t) })
	c.lbc(t, "younger", withVIPs("192.0.2.10"))
	former := &virtualips.Reconciler{Client: c.Client, API: c.Client}
	if _, err := former.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the age of objects has whole seconds
	c.lbc(t, "elder", withVIPs("192.0.2.10"))

	world, err := virtualips.Look(t.Context(), c.Client)
	if err != nil {
		t.Fatal(err)
	}
	for i := range world.Clusters { // the cache has both clusters, but not to which the address is assigned, and mistakes their age
		world.Clusters[i].Status.VirtualIPs = nil
		if world.Clusters[i].Name == "elder" {
			world.Clusters[i].CreationTimestamp.Time = world.Clusters[i].CreationTimestamp.Add(-time.Hour)
		}
	}
	if d := virtualips.Decide(world); !slices.Equal(d.Assigned["elder"], []string{"192.0.2.10"}) {
		t.Fatalf("the cache does not mislead: %+v", d)
	}
	next := &virtualips.Reconciler{Client: &frozen{Client: c.Client, world: world}, API: c.Client}
	if _, err := next.Reconcile(t.Context(), ctrl.Request{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{"younger": {"192.0.2.10"}, "elder": nil} {
		if got := c.getCluster(t, name).Status.VirtualIPs; !slices.Equal(got, want) {
			t.Errorf("cluster %s has %v, want %v", name, got, want)
		}
	}
}
