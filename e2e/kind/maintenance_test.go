// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers"

// TestExcludedNode takes a node out by the label of Kubernetes, under load, and back in: no connection fails, none is cut.
func TestExcludedNode(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "excluded")
	c.awaitConverged(t)
	node := c.workers[1]
	rest := c.others(node)
	clients := c.patient().start(t)
	connections := hold(t, c.target(), 24)
	if connections.nodes[node] == 0 {
		t.Fatalf("none of the connections is on %s: %v", node, connections.nodes)
	}
	t.Cleanup(func() { mustKubectl(t, "", "label", "node", node, excludeLabel+"-") })
	keepArtifacts(t)
	mustKubectl(t, "", "label", "node", node, excludeLabel+"=")
	c.awaitState(t, reportLimit, node, v1alpha1.HostDraining)
	c.awaitBuckets(t, map[string]int32{rest[0]: 30, node: 0, rest[1]: 30})
	c.mustSpread(t, 100, rest...)
	if columns := mustKubectl(t, "", "get", "lbh"); !strings.Contains(columns, string(v1alpha1.MaintenanceNodeExcluded)) {
		t.Errorf("kubectl get lbh does not say why the host drains:\n%s", columns)
	}
	connections.mustHaveHeld(t)
	c.awaitState(t, drainedLimit, node, v1alpha1.HostStopped)
	c.awaitMembers(t, reportLimit, 2, rest...)

	mustKubectl(t, "", "label", "node", node, excludeLabel+"-")
	c.awaitConverged(t)
	mustMoveSmoothly(t, clients.stop())
	c.mustSpread(t, 300, c.workers...)
}

// TestNodeShutdown shuts a node down as an administrator does. Nothing tells its host of that but the end of its processes, and
// no agent follows: it leaves at once instead of holding its place, so that clients see next to nothing.
func TestNodeShutdown(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "shutdown")
	c.awaitConverged(t)
	node := c.workersWithoutManager(t)[0]
	rest := c.others(node)
	clients := c.steady().start(t)
	pause(t, time.Second)
	t.Cleanup(func() { startNode(t, node) })
	keepArtifacts(t)
	begin := time.Now()
	// What "podman stop" and a container engine's shutdown send: systemd's request to halt.
	ctx, cancel := contextFor(2 * time.Minute)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- cluster.Stop(ctx, node) }()
	c.awaitMembers(t, reportLimit, 3, rest...)
	t.Logf("kubectl shows the others alone %s after the order to shut down", time.Since(begin).Round(time.Millisecond))
	c.mustSayWhyItEnded(t, node)
	must(t, <-stopped)
	t.Logf("the node stood still after %s", time.Since(begin).Round(time.Millisecond))
	pause(t, 2*time.Second)
	attempts := clients.stop()
	t.Logf("clients saw an outage of %s, %d failed connections (%s)", gap(attempts).Round(time.Millisecond), len(failures(attempts)), summary(attempts))
	c.mustHaveLeftInOrder(t, node, attempts)
	c.mustSpread(t, 200, rest...)

	startNode(t, node)
	c.awaitMembers(t, 3*time.Minute, 3, c.workers...)
	awaitHostWorkload(t)
	c.mustSpread(t, 300, c.workers...)
}

// mustHaveLeftInOrder checks what clients saw, generously for a busy machine: a hold in vain would cost them ten seconds and more.
func (c *vipCluster) mustHaveLeftInOrder(t *testing.T, node string, attempts []attempt) {
	t.Helper()
	if outage := gap(attempts); outage > outageLimit {
		t.Errorf("clients saw an outage of %s, at most %s is allowed", outage, outageLimit)
	}
	events := mustKubectl(t, "", "get", "events.events.k8s.io", "-n", "default", "-o",
		fmt.Sprintf("jsonpath={range .items[?(@.related.name==%q)]}{.reason}{\"\\n\"}{end}", v1alpha1.HostObjectName(c.name, node)))
	if reasons := strings.Fields(events); !slices.Contains(reasons, "MemberLeft") {
		t.Errorf("the events about the host are %v, want MemberLeft", reasons)
	}
}

// mustSayWhyItEnded checks that the last words of the agent reached the API server.
func (c *vipCluster) mustSayWhyItEnded(t *testing.T, node string) {
	t.Helper()
	within(t, reportLimit, "last words of the agent on "+node, func(ctx context.Context) error {
		host, err := c.host(ctx, node)
		if err != nil {
			return err
		}
		for _, condition := range host.Status.Conditions {
			if condition.Type == v1alpha1.ConditionDataplaneReady && condition.Reason == v1alpha1.ReasonAgentEnded {
				t.Logf("%s says: %s, %s", host.Name, host.Status.State, condition.Message)
				return nil
			}
		}
		return fmt.Errorf("it says %s: %v", host.Status.State, host.Status.Conditions)
	})
}
