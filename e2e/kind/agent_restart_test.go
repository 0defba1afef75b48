// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestAgentRestartLosesNothing replaces every agent, one after the other, as an upgrade does. Programs and connections are
// kept by the kernel meanwhile, and the peers wait: no connection fails, no established one breaks, nothing moves.
func TestAgentRestartLosesNothing(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "restart")
	c.awaitConverged(t)
	connections := hold(t, c.target(), 24)
	clients := c.patient().start(t)
	for _, node := range c.workers {
		c.restartAgent(t, node)
		c.awaitMembers(t, convergeLimit, 3, c.workers...)
	}
	mustMoveSmoothly(t, clients.stop())
	connections.mustHaveHeld(t)
	c.mustSpread(t, 150, c.workers...)
}

// restartAgent deletes an agent's pod and waits for the one that takes its place.
func (c *vipCluster) restartAgent(t *testing.T, node string) {
	t.Helper()
	old, err := c.agentPod(t.Context(), node)
	must(t, err)
	start := time.Now()
	mustKubectl(t, "", "delete", "pod", "-n", systemNamespace, old.Name, "--wait=false")
	within(t, time.Minute, "a new agent on "+node, func(ctx context.Context) error {
		pod, err := c.agentPod(ctx, node)
		if err != nil {
			return err
		}
		if pod.UID == old.UID || len(pod.Status.ContainerStatuses) != 1 || pod.Status.ContainerStatuses[0].State.Running == nil {
			return fmt.Errorf("pod %s is %s", pod.Name, phase(pod))
		}
		host, err := c.host(ctx, node)
		if err != nil {
			return err
		}
		if value(host.Status.RenewTime).Time.Before(pod.Status.ContainerStatuses[0].State.Running.StartedAt.Time) {
			return fmt.Errorf("host %s has not reported since", host.Name)
		}
		return nil
	})
	t.Logf("the agent on %s was replaced in %s", node, time.Since(start).Round(time.Millisecond))
}

func phase(p *corev1.Pod) string {
	if !p.DeletionTimestamp.IsZero() {
		return "Terminating"
	}
	return string(p.Status.Phase)
}
