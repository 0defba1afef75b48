// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestModes runs a cluster in each mode that TestApplyConvergesAndSpreads does not: they differ in the cluster MAC, and in
// how a network gets frames for it to all hosts.
func TestModes(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeUnicast, v1alpha1.ModeIGMPMulticast} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			hostWorkload(t)
			c := newCluster(t, "mode-"+strings.ToLower(string(mode)), func(s *v1alpha1.LoadBalancingClusterSpec) { s.Mode = mode })
			c.awaitConverged(t)
			on := listen(t, c.network.Bridge, c.target())
			attempts := c.mustSpread(t, 150, c.workers...)
			on.mustBeServedByOne(t, attempts, c.macs(t))
			c.clusterMACMustNotBeLearnt(t)
		})
	}
}
