// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"net/netip"
	"testing"
	"time"

	wlbsv1alpha1 "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// dualStack gives a cluster a virtual IP of each family.
func dualStack(c *wlbsv1alpha1.LoadBalancingCluster) {
	c.Spec.VirtualIPs = []string{VIP.String(), VIP6.String()}
}

// ipv6Only takes IPv4 from a cluster, and with it from the rig.
func ipv6Only(c *wlbsv1alpha1.LoadBalancingCluster) { c.Spec.VirtualIPs = []string{VIP6.String()} }

// spread fails the test unless clients of the virtual IP's family fall on all hosts, and exactly one accepts each.
func (r *Rig) spread(t *testing.T, vip netip.Addr, clients int) {
	t.Helper()
	c, err := r.StartCapture()
	must(t, err)
	report, err := r.Do(Load{Target: netip.AddrPortFrom(vip, HTTPPort), Clients: clients, Connections: 1, Timeout: 5 * time.Second})
	must(t, err)
	frames, err := c.Stop()
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	r.neverAsSource(t, frames)
	r.onceAccepted(t, frames)
	if got := report.ByHost(); len(got) != len(r.Hosts) {
		t.Errorf("answers from %s by host: %v, want all of %d", vip, got, len(r.Hosts))
	}
}

// A cluster with virtual IPs of both families spreads clients of both.
func TestDualStack(t *testing.T) {
	r := startRig(t, 3, dualStack)
	r.spread(t, VIP, 60)
	r.spread(t, VIP6, 60)
}

// A cluster works where there is no IPv4 at all.
func TestIPv6Only(t *testing.T) {
	r := startRig(t, 2, ipv6Only)
	r.spread(t, VIP6, 60)
	must(t, r.Hosts[1].Stop())
	left, err := r.Hosts[1].Leftovers()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("leftovers: %v", left)
	}
}
