// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Decision is what is to be written after a look. What need not change is not in it.
type Decision struct {
	// Assigned has the status.virtualIPs that clusters shall have, by name.
	Assigned map[string][]string
	// Served has the spec.virtualIPs that hosts shall have, by name.
	Served map[string][]string
}

// Empty reports whether there is nothing to write.
func (d Decision) Empty() bool { return len(d.Assigned) == 0 && len(d.Served) == 0 }

// Decide takes the next step of each virtual IP. The writes of one decision may be done in any order, and any of them
// left undone: the next look goes on from what was persisted.
func Decide(w World) Decision {
	x := newIndex(w)
	d := Decision{Assigned: map[string][]string{}, Served: map[string][]string{}}
	granted := x.grant()
	for _, c := range x.clusters {
		if ips := x.assigned(c, granted); !slices.Equal(ips, c.Status.VirtualIPs) {
			d.Assigned[c.Name] = ips
		}
		for _, h := range x.hostsOf[c.Name] {
			if ips := x.served(c, h, granted); !slices.Equal(ips, h.Spec.VirtualIPs) {
				d.Served[h.Name] = ips
			}
		}
	}
	return d
}

// grant gives addresses that nobody has to the first cluster that asks.
func (x *index) grant() map[string]*v1alpha1.LoadBalancingCluster {
	granted := map[string]*v1alpha1.LoadBalancingCluster{}
	for _, c := range x.clusters {
		if !c.DeletionTimestamp.IsZero() {
			continue
		}
		for _, ip := range c.Spec.VirtualIPs {
			_, isNodes := x.nodes[ip]
			if granted[ip] == nil && x.clusterOf[ip] == nil && !isNodes && len(x.foreign(c.Name, ip)) == 0 {
				granted[ip] = c
			}
		}
	}
	return granted
}

// assigned are the addresses that a cluster lists and has or gets, in the order of its spec, and then those that it
// keeps for the sake of its hosts.
func (x *index) assigned(c *v1alpha1.LoadBalancingCluster, granted map[string]*v1alpha1.LoadBalancingCluster) []string {
	var ips []string
	for _, ip := range c.Spec.VirtualIPs {
		if x.clusterOf[ip] == c || granted[ip] == c {
			ips = append(ips, ip)
		}
	}
	for _, ip := range c.Status.VirtualIPs {
		if x.clusterOf[ip] == c && !slices.Contains(c.Spec.VirtualIPs, ip) && len(x.serving(c.Name, ip)) > 0 {
			ips = append(ips, ip)
		}
	}
	return ips
}

// served are the addresses that a host is to serve: those that its cluster lists, and that are assigned to it by what
// is persisted. One that the host has, and its cluster is about to get, stays: so it is where all status was lost. For
// a host that is being removed nothing changes, for its agent takes away all that it set up.
func (x *index) served(
	c *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost, granted map[string]*v1alpha1.LoadBalancingCluster,
) []string {
	if !h.DeletionTimestamp.IsZero() {
		return h.Spec.VirtualIPs
	}
	var ips []string
	for _, ip := range c.Spec.VirtualIPs {
		has := slices.Contains(h.Spec.VirtualIPs, ip)
		keeps := has && (x.clusterOf[ip] == c || granted[ip] == c)
		gets := x.clusterOf[ip] == c && len(x.foreign(c.Name, ip)) == 0
		if keeps || gets {
			ips = append(ips, ip)
		}
	}
	return ips
}
