// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const agents = "daemonset/kube-wlbs-agent"

// TestRollout replaces all agents by the commands that people know, under load. They do what they say.
func TestRollout(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "rollout")
	c.awaitConverged(t)
	connections := hold(t, c.target(), 24)
	l := c.patient()
	l.interval = 50 * time.Millisecond // 20 connections a second
	clients := l.start(t)

	before := c.agentsOn(t, c.workers)
	c.rollOut(t, before, "restart")
	restarted := c.agentsOn(t, c.workers)
	revision := templateOf(t)
	c.rollOut(t, restarted, "undo")
	if undone := templateOf(t); undone == revision {
		t.Errorf("the pod template is after the undo what it was before: %s", undone)
	}
	c.awaitMembers(t, convergeLimit, 3, c.workers...)
	mustMoveSmoothly(t, clients.stop())
	connections.mustHaveHeld(t)
	c.mustSpread(t, 150, c.workers...)
}

// rollOut runs a command of kubectl rollout and waits as people do. Then no agent is one of those before.
func (c *vipCluster) rollOut(t *testing.T, before map[string]types.UID, command string) {
	t.Helper()
	start := time.Now()
	mustKubectl(t, "", "rollout", command, "-n", systemNamespace, agents)
	mustKubectl(t, "", "rollout", "status", "-n", systemNamespace, agents, "--timeout=4m")
	t.Logf("kubectl rollout %s was done in %s", command, time.Since(start).Round(time.Millisecond))
	for node, uid := range c.agentsOn(t, c.workers) {
		if before[node] == uid {
			t.Errorf("kubectl rollout status returned, and the agent on %s is the one of before", node)
		}
	}
	out := mustKubectl(t, "", "get", "-n", systemNamespace, agents, "-o", "jsonpath={.status.updatedNumberScheduled}/{.status.desiredNumberScheduled}")
	if up, all, _ := strings.Cut(strings.TrimSpace(out), "/"); up != all {
		t.Errorf("UP-TO-DATE is %s of %s", up, all)
	}
}

// templateOf returns the annotations of the agents' pod template, by which kubectl restarts them.
func templateOf(t *testing.T) string {
	t.Helper()
	return mustKubectl(t, "", "get", "-n", systemNamespace, agents, "-o", "jsonpath={.spec.template.metadata.annotations}")
}

// TestManyClusters creates 20 clusters at once while the manager is killed four times. All converge, and nothing is left of them.
func TestManyClusters(t *testing.T) {
	const number, kills = 20, 4
	e := env(t)
	var manifest strings.Builder
	clusters := make([]*vipCluster, number)
	names := make([]string, number)
	for i := range clusters {
		c := &vipCluster{environment: e, name: fmt.Sprintf("many-%02d", i+1), vip: e.nextVIP(t)}
		clusters[i], names[i] = c, c.name
		fmt.Fprintf(&manifest, "---\napiVersion: wlbs.dev/v1alpha1\nkind: LoadBalancingCluster\nmetadata: {name: %s, labels: {%s: \"yes\"}}\nspec: {virtualIPs: [%q]}\n", c.name, madeByTest, c.vip)
	}
	t.Cleanup(func() {
		mustKubectl(t, "", append([]string{"delete", "lbc", "--ignore-not-found", "--wait=false"}, names...)...)
		for _, c := range clusters {
			c.remove(t)
		}
	})
	keepArtifacts(t)
	start := time.Now()
	mustKubectl(t, manifest.String(), "apply", "-f", "-")
	for range kills {
		e.killManager(t)
		pause(t, time.Second)
	}
	within(t, 4*time.Minute, "convergence of all clusters", func(ctx context.Context) error {
		for _, c := range clusters {
			if err := c.hasConverged(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	t.Logf("the last of %d clusters converged %s after kubectl apply", number, time.Since(start).Round(time.Millisecond))

	held := map[string]string{}
	for _, c := range clusters {
		object, err := c.get(t.Context())
		must(t, err)
		for _, vip := range object.Status.VirtualIPs {
			if other := held[vip]; other != "" {
				t.Errorf("%s is assigned to %s and %s", vip, other, c.name)
			}
			held[vip] = c.name
		}
	}
	removed := time.Now()
	mustKubectl(t, "", append([]string{"delete", "lbc", "--wait=false"}, names...)...)
	e.killManager(t)
	for _, c := range clusters {
		c.remove(t)
		c.mustHaveNoObjects(t)
	}
	t.Logf("the last of %d clusters was gone %s after kubectl delete", number, time.Since(removed).Round(time.Millisecond))
	for _, node := range e.workers {
		within(t, time.Minute, "addresses of removed clusters on "+node, func(ctx context.Context) error {
			out, err := cluster.InNode(ctx, node, "bash", "-c", "ip -o address show dev lo; ls /sys/fs/bpf/kube-wlbs/clusters /var/lib/kube-wlbs 2>/dev/null || true")
			if err != nil {
				return err
			}
			for _, c := range clusters {
				if strings.Contains(out, c.name) || strings.Contains(out, " "+c.vip.String()+"/") {
					return fmt.Errorf("there is something left of %s:\n%s", c.name, out)
				}
			}
			return nil
		})
	}
}

// hasConverged is nil when all workers are converged members that serve the virtual IP.
func (c *vipCluster) hasConverged(ctx context.Context) error {
	object, err := c.get(ctx)
	if err != nil {
		return err
	}
	if columns := object.Status.Columns; columns.Hosts != fmt.Sprintf("%d/%d", len(c.workers), len(c.workers)) {
		return fmt.Errorf("cluster %s has HOSTS %q", c.name, columns.Hosts)
	}
	hosts, err := c.hosts(ctx)
	if err != nil {
		return err
	}
	return agree(hosts, c.workers, &object.Spec)
}

// killManager ends the manager at work before it can give its Lease back.
func (e *environment) killManager(t *testing.T) {
	t.Helper()
	leader := e.awaitLeader(t, "")
	mustKubectl(t, "", "delete", "pod", "-n", systemNamespace, leader.Name, "--force", "--grace-period=0", "--ignore-not-found")
	t.Logf("killed %s on %s", leader.Name, leader.Spec.NodeName)
}
