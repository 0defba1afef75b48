// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// withVIP gives the cluster another virtual IP than one of its own.
func withVIP(vip netip.Addr) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = []string{vip.String()} }
}

// TestOneVirtualIPForTwoClusters gives a virtual IP in use to a second cluster. The first keeps it, and its clients notice neither that
// the second comes nor that it goes. When the first goes, the second gets it.
func TestOneVirtualIPForTwoClusters(t *testing.T) {
	hostWorkload(t)
	e := env(t)
	holders, bystander := e.workers[:2], e.workers[2]
	label(t, holders...)
	t.Cleanup(func() { unlabel(t, holders...) })
	one := newCluster(t, "first", selecting(testLabel, "yes"))
	one.awaitMembers(t, convergeLimit, 2, holders...)
	mac := one.macs(t)

	clients := one.patient().start(t)
	connections := hold(t, one.target(), 12)
	epoch := one.epoch(t)
	two := newCluster(t, "second", withVIP(one.vip))
	two.vip = one.vip
	two.awaitCondition(t, convergeLimit, v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPConflict)
	two.awaitCondition(t, reportLimit, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonConfigInconsistent)
	mustSay(t, "describe lbc second", "assigned to LoadBalancingCluster first")
	// All nodes are hosts of the second; the third is none of the first, and must not have the address.
	steadily(t, 3*time.Second, "virtual IP of the first", func(ctx context.Context) error {
		return two.mustNotBeOn(ctx, bystander)
	})
	for sender := range arpAnswers(t, one.network.Bridge, one.vip) {
		if sender != [6]byte(mac[holders[0]]) && sender != [6]byte(mac[holders[1]]) {
			t.Errorf("%x answers ARP for %s, which is none of the holders", sender, one.vip)
		}
	}
	must(t, hasStatus(t.Context(), one, v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent))
	two.remove(t)
	pause(t, time.Second)
	mustNotFail(t, clients.stop())
	connections.mustHaveHeld(t)
	if now := one.epoch(t); now != epoch {
		t.Errorf("cluster %s converged anew because of the other: epoch %d, and was %d", one.name, now, epoch)
	}
	on := listen(t, one.network.Bridge, one.target())
	on.mustBeServedByOne(t, one.mustSpread(t, 100, holders...), mac)

	two.apply(t, one.specOf(t, withVIP(one.vip), func(s *v1alpha1.LoadBalancingClusterSpec) { s.NodeSelector = nil }))
	two.awaitCondition(t, convergeLimit, v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPConflict)
	removed := time.Now()
	one.remove(t)
	two.awaitConverged(t)
	t.Logf("the second cluster serves the address %s after the first began to go", time.Since(removed).Round(time.Millisecond))
	on = listen(t, two.network.Bridge, two.target())
	on.mustBeServedByOne(t, two.mustSpread(t, 150, two.workers...), mac)
}

// specOf returns the spec of a cluster, changed.
func (c *vipCluster) specOf(t *testing.T, options ...specOption) v1alpha1.LoadBalancingClusterSpec {
	t.Helper()
	object, err := c.get(t.Context())
	must(t, err)
	spec := *object.Spec.DeepCopy()
	for _, option := range options {
		option(&spec)
	}
	return spec
}

// mustNotBeOn checks that a node neither has the virtual IP of a cluster nor is told to have it.
func (c *vipCluster) mustNotBeOn(ctx context.Context, node string) error {
	addresses, err := cluster.InNode(ctx, node, "ip", "-o", "address", "show")
	if err != nil {
		return err
	}
	if strings.Contains(addresses, " "+c.vip.String()+"/") {
		return fmt.Errorf("node %s has the address %s", node, c.vip)
	}
	host, err := c.host(ctx, node)
	if err != nil {
		return err
	}
	if len(host.Spec.VirtualIPs)+len(host.Status.Dataplane.VirtualIPs) > 0 {
		return fmt.Errorf("host %s is told %v and serves %v", host.Name, host.Spec.VirtualIPs, host.Status.Dataplane.VirtualIPs)
	}
	return nil
}

func hasStatus(ctx context.Context, c *vipCluster, kind string, status metav1.ConditionStatus, reason string) error {
	object, err := c.get(ctx)
	if err != nil {
		return err
	}
	return hasCondition(object.Status.Conditions, kind, status, reason)
}

// mustSay checks that kubectl prints something.
func mustSay(t *testing.T, command, want string) {
	t.Helper()
	if out := mustKubectl(t, "", strings.Fields(command)...); !strings.Contains(out, want) {
		t.Errorf("kubectl %s does not say %q:\n%s", command, want, out)
	}
}

// TestVirtualIPOfNode asks for addresses that are nodes' own: a host's, and that of a node that is none.
func TestVirtualIPOfNode(t *testing.T) {
	e := env(t)
	nodes, err := cluster.Nodes(t.Context())
	must(t, err)
	control := slices.DeleteFunc(nodes, func(n string) bool { return slices.Contains(e.workers, n) })[0]
	for name, node := range map[string]string{"of-member": e.workers[0], "of-other": control} {
		address, err := cluster.Address(t.Context(), node)
		must(t, err)
		before := e.nodeStates(t)
		c := newCluster(t, name, withVIP(address))
		c.vip = address
		c.awaitCondition(t, convergeLimit, v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPIsNodeAddress)
		mustSay(t, "describe lbc "+name, fmt.Sprintf("%s is the InternalIP of node %s", address, node))
		within(t, reportLimit, "event", func(ctx context.Context) error {
			out, err := kubectl(ctx, "", "get", "events", "-A", "--field-selector", "reason="+v1alpha1.ReasonVirtualIPIsNodeAddress+",involvedObject.name="+name, "-o", "name")
			if err == nil && out == "" {
				err = fmt.Errorf("there is none")
			}
			return err
		})
		steadily(t, 3*time.Second, "address of "+node, func(ctx context.Context) error {
			for _, worker := range e.others(node) {
				if err := c.mustNotBeOn(ctx, worker); err != nil {
					return err
				}
			}
			return nil
		})
		own, err := e.macOf(t.Context(), node)
		must(t, err)
		for sender := range arpAnswers(t, e.network.Bridge, address) {
			if sender != [6]byte(own) {
				t.Errorf("%x answers ARP for %s, which is node %s", sender, address, node)
			}
		}
		c.remove(t)
		for _, worker := range e.workers {
			awaitNodeState(t, worker, before[worker])
		}
	}
}
