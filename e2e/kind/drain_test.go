// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// drainedLimit bounds the time from the last connection's end to the host's: the table of connections is swept now and then.
const drainedLimit = 90 * time.Second

// TestDrainedHostFinishesItsConnections drains a host under load, and starts it again.
func TestDrainedHostFinishesItsConnections(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	c := newCluster(t, "drained")
	c.awaitConverged(t)
	drained := c.workers[1]
	rest := c.others(drained)
	clients := c.patient().start(t)
	connections := hold(t, c.target(), 24)
	if connections.nodes[drained] == 0 {
		t.Fatalf("none of the connections is on %s: %v", drained, connections.nodes)
	}

	c.update(t, desiredState(drained, v1alpha1.DesiredStateDrained))
	c.awaitState(t, reportLimit, drained, v1alpha1.HostDraining)
	c.awaitBuckets(t, map[string]int32{rest[0]: 30, drained: 0, rest[1]: 30})
	c.mustSpread(t, 100, rest...)
	pause(t, 2*time.Second)
	c.awaitState(t, reportLimit, drained, v1alpha1.HostDraining) // as long as there are connections
	connections.mustHaveHeld(t)
	c.awaitState(t, drainedLimit, drained, v1alpha1.HostStopped)

	c.update(t, desiredState(drained, v1alpha1.DesiredStateStarted))
	c.awaitConverged(t)
	mustMoveSmoothly(t, clients.stop())
	c.mustSpread(t, 300, c.workers...)
}

func desiredState(node string, state v1alpha1.DesiredState) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.Hosts = []v1alpha1.HostConfig{{NodeName: node, DesiredState: state}}
	}
}

// awaitState waits until a host reports a state.
func (c *vipCluster) awaitState(t *testing.T, limit time.Duration, node string, state v1alpha1.HostState) {
	t.Helper()
	took := within(t, limit, fmt.Sprintf("host on %s %s", node, state), func(ctx context.Context) error {
		host, err := c.host(ctx, node)
		if err == nil && host.Status.State != state {
			err = fmt.Errorf("it is %s", host.Status.State)
		}
		return err
	})
	t.Logf("the host on %s is %s after %s", node, state, took.Round(time.Millisecond))
}
