// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
)

const testLabel = "e2e.wlbs.dev/host"

// TestNodeSelector lets nodes join and leave by their label, under load.
func TestNodeSelector(t *testing.T) {
	hostWorkload(t)
	e := env(t)
	before := e.nodeStates(t)
	t.Cleanup(func() { unlabel(t, e.workers...) })
	label(t, e.workers[:2]...)
	c := newCluster(t, "selected", selecting(testLabel, "yes"))
	c.awaitMembers(t, convergeLimit, 2, c.workers[:2]...)
	c.mustSpread(t, 200, c.workers[:2]...)

	clients := c.patient().start(t)
	connections := hold(t, c.target(), 24)
	agents := c.agentsOn(t, c.workers[:2])
	label(t, c.workers[2])
	c.awaitMembers(t, convergeLimit, 3, c.workers...)
	pause(t, time.Second)
	mustMoveSmoothly(t, clients.stop())
	connections.mustHaveHeld(t)
	c.mustSpread(t, 300, c.workers...)
	if now := c.agentsOn(t, c.workers[:2]); !maps.Equal(now, agents) {
		t.Errorf("agents were replaced because another node joined: they are %v, and were %v", now, agents)
	}

	// The one that leads goes. It announces that, so no new connection fails; its own end with it.
	leaver := c.workers[0]
	ids := c.idsOf(t, c.workers[1:])
	agents = c.agentsOn(t, c.workers[1:])
	clients = c.patient().start(t)
	unlabel(t, leaver)
	c.awaitMembers(t, removalLimit, 2, c.workers[1:]...)
	c.awaitNoHost(t, leaver)
	pause(t, time.Second)
	mustMoveSmoothly(t, clients.stop())
	awaitNodeState(t, leaver, before[leaver])
	c.mustSpread(t, 200, c.workers[1:]...)
	if now := c.idsOf(t, c.workers[1:]); now != ids {
		t.Errorf("hosts that stay have the IDs %s, and had %s", now, ids)
	}
	if now := c.agentsOn(t, c.workers[1:]); !maps.Equal(now, agents) {
		t.Errorf("agents of hosts that stay were replaced: they are %v, and were %v", now, agents)
	}
}

// agentsOn returns the UIDs of the agents' pods.
func (c *vipCluster) agentsOn(t *testing.T, nodes []string) map[string]types.UID {
	t.Helper()
	uids := map[string]types.UID{}
	for _, node := range nodes {
		pod, err := c.agentPod(t.Context(), node)
		must(t, err)
		uids[node] = pod.UID
	}
	return uids
}

func (c *vipCluster) idsOf(t *testing.T, nodes []string) string {
	t.Helper()
	var ids []int32
	for _, node := range nodes {
		host, err := c.host(t.Context(), node)
		must(t, err)
		ids = append(ids, host.Spec.HostID)
	}
	return fmt.Sprint(ids)
}

// awaitNoHost waits until a node is no host of the cluster any more.
func (c *vipCluster) awaitNoHost(t *testing.T, node string) {
	t.Helper()
	within(t, removalLimit, "removal of the host on "+node, func(ctx context.Context) error {
		if _, err := c.host(ctx, node); !apierrors.IsNotFound(err) {
			return fmt.Errorf("its LoadBalancingHost: %w", orStillThere(err))
		}
		return nil
	})
}

func label(t *testing.T, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		mustKubectl(t, "", "label", "node", node, testLabel+"=yes", "--overwrite")
	}
}

func unlabel(t *testing.T, nodes ...string) {
	t.Helper()
	for _, node := range nodes {
		mustKubectl(t, "", "label", "node", node, testLabel+"-")
	}
}
