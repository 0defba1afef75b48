// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRemovedClusterLeavesNodesClean compares each node before a cluster was applied with the same after its removal.
func TestRemovedClusterLeavesNodesClean(t *testing.T) {
	hostWorkload(t)
	e := env(t)
	before := e.nodeStates(t)
	c := newCluster(t, "removed")
	c.awaitConverged(t)
	c.mustSpread(t, 60, c.workers...)
	for node, now := range e.nodeStates(t) {
		mustHaveSetUp(t, c, node, before[node], now)
	}

	t.Logf("removed in %s", c.remove(t).Round(time.Millisecond))
	for _, node := range c.workers {
		awaitNodeState(t, node, before[node])
	}
	c.mustHaveNoObjects(t)
	a := connectOne(t.Context(), c.steady())
	if a.err == nil {
		t.Errorf("the virtual IP of a removed cluster is answered by %s", a.node)
	}
}

// mustHaveSetUp checks that the comparison sees what agents do; without, it would hold for a cluster that does nothing. What
// clusters on one node share is there already if another cluster was before this one.
func mustHaveSetUp(t *testing.T, c *vipCluster, node string, before, now []string) {
	t.Helper()
	own, all := strings.Join(additions(before, now), "\n"), strings.Join(now, "\n")
	for what, fact := range map[string]string{
		"virtual IP": "address: lo inet " + c.vip.String() + "/32",
		"MAC filter": "multicast: eth0 link 03:bf:",
		"pins":       "file: /sys/fs/bpf/kube-wlbs/clusters/" + c.name + "/",
		"state file": "file: /var/lib/kube-wlbs/" + c.name,
	} {
		if !strings.Contains(own, fact) {
			t.Errorf("node %s has no %s (%q); what the cluster added is\n%s", node, what, fact, own)
		}
	}
	for what, fact := range map[string]string{
		"heartbeat socket": "packet socket: protocol 886f",
		"ingress program":  "at TCX ingress of eth0",
		"egress program":   "at TCX egress of eth0",
		"XDP program":      "prog/xdp",
	} {
		if !strings.Contains(all, fact) {
			t.Errorf("node %s has no %s (%q); what it has is\n%s", node, what, fact, all)
		}
	}
	if _, err := cluster.InNode(t.Context(), node, "test", "-S", "/run/kube-wlbs/agent.sock"); err != nil {
		t.Errorf("node %s has no socket of an agent: %v", node, err)
	}
	if strings.Contains(own, "listener:") {
		t.Errorf("node %s has new listening sockets; what the cluster added is\n%s", node, own)
	}
}

// mustHaveNoObjects checks that nothing with the cluster's label is left in Kubernetes.
func (c *vipCluster) mustHaveNoObjects(t *testing.T) {
	t.Helper()
	const kinds = "daemonsets,pods,controllerrevisions,serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings,lbh"
	within(t, removalLimit, "removal of what belonged to cluster "+c.name, func(ctx context.Context) error {
		left, err := kubectl(ctx, "", "get", kinds, "-A", "-l", "wlbs.dev/cluster="+c.name, "-o", "name")
		if err != nil {
			return err
		}
		if left != "" {
			return fmt.Errorf("left are: %s", strings.Join(strings.Fields(left), ", "))
		}
		return nil
	})
}
