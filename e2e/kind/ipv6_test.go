// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

var usedVIP6s atomic.Int32

// nextVIP6 is the IPv6 counterpart of nextVIP. The test is skipped where the nodes have no IPv6.
func (e *environment) nextVIP6(t *testing.T) netip.Addr {
	t.Helper()
	if !e.network.Subnet6.IsValid() {
		skip(t, "the nodes' network has no IPv6")
	}
	vip, err := e.network.VirtualIP6(lab.FirstTestVirtualIP + int(usedVIP6s.Add(1)) - 1)
	must(t, err)
	return vip
}

// at is the cluster as clients of another one of its virtual IPs see it.
func (c *vipCluster) at(vip netip.Addr) *vipCluster {
	other := *c
	other.vip = vip
	return &other
}

// mustServe connects from outside, and checks that each connection gets one answer, and that the bridge learns nothing.
func (c *vipCluster) mustServe(t *testing.T) {
	t.Helper()
	on := listen(t, c.network.Bridge, c.target())
	attempts := c.mustSpread(t, 150, c.workers...)
	on.mustBeServedByOne(t, attempts, c.macs(t))
}

// TestDualStack serves an IPv4 and an IPv6 address at once, and lets a host finish the connections of both.
func TestDualStack(t *testing.T) {
	t.Parallel()
	hostWorkload(t)
	e := env(t)
	vip := e.nextVIP6(t)
	c := newCluster(t, "dual", func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = append(s.VirtualIPs, vip.String()) })
	six := c.at(vip)
	c.awaitConverged(t)
	c.mustServe(t)
	six.mustServe(t)
	c.clusterMACMustNotBeLearnt(t)

	fours, sixes := hold(t, c.target(), 12), hold(t, six.target(), 12)
	drained := c.workers[0]
	wlbs(t, exitOK, words("drainstop %s:%s", c.name, drained))
	c.awaitBuckets(t, map[string]int32{drained: 0})
	c.mustSpread(t, 100, c.others(drained)...)
	six.mustSpread(t, 100, c.others(drained)...)
	fours.mustHaveHeld(t)
	sixes.mustHaveHeld(t)
	wlbs(t, exitOK, words("start %s:%s --wait %s", c.name, drained, waitLimit))
	c.mustSpread(t, 150, c.workers...)
	six.mustSpread(t, 150, c.workers...)
}

// TestIPv6Only serves an IPv6 address alone, in each mode: they differ in how neighbours and switches learn of it.
func TestIPv6Only(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeMulticast, v1alpha1.ModeUnicast, v1alpha1.ModeIGMPMulticast} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			hostWorkload(t)
			e := env(t)
			vip := e.nextVIP6(t)
			c := newCluster(t, "six-"+strings.ToLower(string(mode)), func(s *v1alpha1.LoadBalancingClusterSpec) {
				s.Mode, s.VirtualIPs = mode, []string{vip.String()}
			}).at(vip)
			c.awaitConverged(t)
			c.mustServe(t)
			c.clusterMACMustNotBeLearnt(t)
		})
	}
}
