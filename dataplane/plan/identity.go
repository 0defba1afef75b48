// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Identities returns the host's extended heartbeats: one for each of its own addresses on the interface, and one for
// the cluster's first virtual IP of each family, by which an IPv6-only cluster is known.
func (p *Plan) Identities(own []netip.Addr) []heartbeat.Identity {
	i := heartbeat.Identity{HostID: p.HostID, HostKey: p.HostKey(), ClusterKey: p.ClusterKey(), HostName: p.NodeName}
	if p.Primary.Is4() {
		i.ClusterIP = p.Primary.As4()
	}
	for _, a := range own {
		if a.Is4() {
			i.HostIP = a.As4()
		}
	}
	var out []heartbeat.Identity
	for _, i.Addr = range own {
		out = append(out, i)
	}
	i.Virtual = true
	for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		if at := slices.IndexFunc(p.VIPs, is); at >= 0 {
			i.Addr = p.VIPs[at]
			out = append(out, i)
		}
	}
	return out
}
