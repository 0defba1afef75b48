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

// TestIPv6VirtualIP serves an IPv4 and an IPv6 address at once.
func TestIPv6VirtualIP(t *testing.T) {
	hostWorkload(t)
	e := env(t)
	if !e.network.Subnet6.IsValid() {
		skip(t, "the nodes' network has no IPv6")
	}
	vip, err := e.network.VirtualIP6(10)
	must(t, err)
	c := newCluster(t, "dual", func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = append(s.VirtualIPs, vip.String()) })
	c.awaitConverged(t)
	c.mustSpread(t, 150, c.workers...)
	six := *c
	six.vip = vip
	six.mustSpread(t, 150, c.workers...)
}
