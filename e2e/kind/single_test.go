// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"net/netip"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// handlingPriorities makes the rule Single, with the first node as the one of the highest priority.
func handlingPriorities(nodes ...string) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) {
		r := &s.PortRules[0]
		r.FilteringMode, r.Affinity = v1alpha1.FilteringModeSingle, ""
		s.Hosts = nil
		for i, node := range nodes {
			priority := int32(i + 1)
			s.Hosts = append(s.Hosts, v1alpha1.HostConfig{
				NodeName: node, Rules: []v1alpha1.HostRule{{Name: r.Name, HandlingPriority: &priority}},
			})
		}
	}
}

// mustBeServedBy checks that one node has all buckets of the rule, and gets all connections. The last report of one that is
// lost is not looked at.
func (c *vipCluster) mustBeServedBy(t *testing.T, node string) {
	t.Helper()
	c.awaitBuckets(t, map[string]int32{node: 60})
	c.mustAnswer(t, c.target(), node)
}

// mustAnswer checks that new connections are answered by one node. What brings packets from the node to the server,
// kube-proxy for one, may follow a little later than the buckets; then it has to stay.
func (c *vipCluster) mustAnswer(t *testing.T, target netip.AddrPort, node string) {
	t.Helper()
	l := c.patient()
	l.target = target
	within(t, reportLimit, fmt.Sprintf("answer of %s on %s", node, target), func(ctx context.Context) error {
		a := connectOne(ctx, l)
		if a.err == nil && a.node != node {
			a.err = fmt.Errorf("%s answered", a.node)
		}
		return a.err
	})
	attempts := burst(t, l, 40, 8)
	t.Logf("%s, %s: %s", c.name, target, summary(attempts))
	mustNotFail(t, attempts)
	if got := byNode(attempts)[node]; got != len(attempts) {
		t.Errorf("%s answered %d of %d connections to %s", node, got, len(attempts), target)
	}
}

// TestSingleFollowsHandlingPriority stops the host that serves alone, and starts it again.
func TestSingleFollowsHandlingPriority(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	e := env(t)
	best, next, last := e.workers[2], e.workers[0], e.workers[1]
	c := newCluster(t, "single", handlingPriorities(best, next, last))
	c.awaitConverged(t)
	c.mustBeServedBy(t, best)

	wlbs(t, exitOK, words("stop %s:%s --wait %s", c.name, best, waitLimit))
	c.mustBeServedBy(t, next)
	wlbs(t, exitOK, words("stop %s:%s --wait %s", c.name, next, waitLimit))
	c.mustBeServedBy(t, last)

	connections := hold(t, c.target(), 3)
	wlbs(t, exitOK, words("start %s:%s %s:%s --wait %s", c.name, best, c.name, next, waitLimit))
	c.mustBeServedBy(t, best)
	connections.mustHaveHeld(t) // where they were
}
