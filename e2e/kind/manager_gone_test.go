// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// TestDataPathLivesWithoutManager ends the manager, and then lets a node fail and return.
func TestDataPathLivesWithoutManager(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "orphan")
	c.awaitConverged(t)
	c.stopManager(t)

	victim := c.workers[1]
	clients := c.patient().start(t)
	connections := hold(t, c.target(), 12)
	pause(t, 2*time.Second)
	mustNotFail(t, clients.stop())
	connections.mustHaveHeld(t)

	clients = c.steady().start(t)
	t.Cleanup(func() { plug(t, victim) })
	keepArtifacts(t)
	unplugged := time.Now()
	must(t, cluster.Unplug(t.Context(), victim))
	c.awaitViews(t, c.others(victim)...)
	t.Logf("the others converged, and had it reported, %s after the cut", time.Since(unplugged).Round(time.Millisecond))
	pause(t, 3*time.Second)
	mustSurviveCrash(t, clients.stop(), unplugged)
	c.mustSpread(t, 200, c.others(victim)...)

	plug(t, victim)
	c.awaitViews(t, c.workers...)
	c.mustSpread(t, 300, c.workers...)
	c.startManager(t)
	c.awaitMembers(t, time.Minute, 3, c.workers...)
}

// awaitViews waits until the hosts on these nodes have a view of just them. Agents report without the manager.
func (c *vipCluster) awaitViews(t *testing.T, nodes ...string) {
	t.Helper()
	within(t, time.Minute, fmt.Sprintf("views of %v", nodes), func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		hosts, err := c.hosts(ctx)
		if err != nil {
			return err
		}
		return agree(hosts, nodes, &object.Spec)
	})
}

func plug(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := contextFor(20 * time.Second)
	defer cancel()
	must(t, cluster.Plug(ctx, node))
}

// stopManager takes the manager away until the test ends, or starts it again.
func (e *environment) stopManager(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { e.startManager(t) })
	keepArtifacts(t)
	e.scaleManager(t, 0)
	within(t, time.Minute, "end of the manager", func(ctx context.Context) error {
		pods, err := e.managerPods(ctx)
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d pods are left", len(pods))
		}
		return err
	})
}

// startManager starts the manager, if it does not run.
func (e *environment) startManager(t *testing.T) {
	t.Helper()
	e.scaleManager(t, 2)
	e.awaitReady(t)
}

func (e *environment) scaleManager(t *testing.T, replicas int) {
	t.Helper()
	ctx, cancel := contextFor(20 * time.Second)
	defer cancel()
	manager, err := e.manager(ctx)
	must(t, err)
	mustKubectl(t, "", "scale", "-n", systemNamespace, "deployment/"+manager.Name, fmt.Sprintf("--replicas=%d", replicas))
}
