// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"testing"
)

// TestTwoClustersSideBySide runs two clusters on the same nodes and the same interface, and removes one of them.
func TestTwoClustersSideBySide(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	one := newCluster(t, "one")
	two := newCluster(t, "two")
	one.awaitConverged(t)
	two.awaitConverged(t)
	for _, c := range []*vipCluster{one, two} {
		on := listen(t, c.network.Bridge, c.target())
		attempts := c.mustSpread(t, 150, c.workers...)
		on.mustBeServedByOne(t, attempts, c.macs(t))
	}
	t.Logf("kubectl get lbh -o wide\n%s", mustKubectl(t, "", "get", "lbh", "-o", "wide"))

	epoch := one.epoch(t)
	clients := one.patient().start(t)
	connections := hold(t, one.target(), 12)
	two.remove(t)
	mustMoveSmoothly(t, clients.stop())
	connections.mustHaveHeld(t)
	if now := one.epoch(t); now != epoch {
		t.Errorf("cluster %s converged anew when %s was removed: epoch %d, and was %d", one.name, two.name, now, epoch)
	}
}
