// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestLoadWeightMovesShares gives one host twice the weight of the others, under load, and then none.
func TestLoadWeightMovesShares(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	c := newCluster(t, "weights")
	c.awaitConverged(t)
	clients := c.patient().start(t)
	connections := hold(t, c.target(), 24)

	heavy := c.workers[1]
	c.update(t, loadWeight(heavy, 100))
	c.awaitBuckets(t, map[string]int32{c.workers[0]: 15, heavy: 30, c.workers[2]: 15})
	c.awaitConverged(t)

	c.update(t, loadWeight(heavy, 0))
	c.awaitBuckets(t, map[string]int32{c.workers[0]: 30, heavy: 0, c.workers[2]: 30})
	c.awaitConverged(t)
	mustMoveSmoothly(t, clients.stop())
	connections.mustHaveHeld(t) // those on the host that takes no new ones, too
	c.mustSpread(t, 200, c.others(heavy)...)
}

// loadWeight sets a host's weight in the rule "http".
func loadWeight(node string, weight int32) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.Hosts = []v1alpha1.HostConfig{{NodeName: node, Rules: []v1alpha1.HostRule{{Name: "http", LoadWeight: &weight}}}}
	}
}

// awaitBuckets waits until each host serves so many buckets of the rule "http".
func (c *vipCluster) awaitBuckets(t *testing.T, want map[string]int32) {
	t.Helper()
	c.awaitRuleBuckets(t, "http", want)
}

// awaitRuleBuckets waits until each host serves so many buckets of a rule.
func (c *vipCluster) awaitRuleBuckets(t *testing.T, rule string, want map[string]int32) {
	t.Helper()
	within(t, reportLimit, fmt.Sprintf("buckets of rule %s %v", rule, want), func(ctx context.Context) error {
		for node, buckets := range want {
			host, err := c.host(ctx, node)
			if err != nil {
				return err
			}
			if is := bucketsOf(host, rule); is != buckets {
				return fmt.Errorf("host %s has %d buckets, want %d", host.Name, is, buckets)
			}
		}
		return nil
	})
}
