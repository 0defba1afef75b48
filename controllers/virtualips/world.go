// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// World is one look at all that decides to which cluster a virtual IP is assigned. The order of its lists has no
// meaning.
type World struct {
	Clusters []v1alpha1.LoadBalancingCluster
	Hosts    []v1alpha1.LoadBalancingHost
	Nodes    []corev1.Node
}

// Look reads the world. Who only reads may pass client.UnsafeDisableDeepCopy.
func Look(ctx context.Context, reader client.Reader, options ...client.ListOption) (World, error) {
	var clusters v1alpha1.LoadBalancingClusterList
	var hosts v1alpha1.LoadBalancingHostList
	var nodes corev1.NodeList
	for _, list := range []client.ObjectList{&clusters, &hosts, &nodes} {
		if err := reader.List(ctx, list, options...); err != nil {
			return World{}, fmt.Errorf("look at virtual IPs: %w", err)
		}
	}
	return World{Clusters: clusters.Items, Hosts: hosts.Items, Nodes: nodes.Items}, nil
}

// index answers questions about a world. Virtual IPs are compared as they are written: the API takes canonical ones
// only.
type index struct {
	// clusters are sorted by age, then by name: who comes first is served first.
	clusters []*v1alpha1.LoadBalancingCluster
	hostsOf  map[string][]*v1alpha1.LoadBalancingHost // by cluster, sorted by name
	// traces has, for each address, the hosts whose spec or report has it, sorted by name.
	traces map[string][]*v1alpha1.LoadBalancingHost
	// nodes has, for each address that is a node's own, the first such node by name.
	nodes map[string]nodeAddress
	// clusterOf has the cluster to which an address is assigned.
	clusterOf map[string]*v1alpha1.LoadBalancingCluster
}

// nodeAddress is an address in the status of a node.
type nodeAddress struct {
	node string
	kind corev1.NodeAddressType
}

func newIndex(w World) *index {
	x := &index{
		hostsOf: map[string][]*v1alpha1.LoadBalancingHost{}, traces: map[string][]*v1alpha1.LoadBalancingHost{},
		nodes: map[string]nodeAddress{}, clusterOf: map[string]*v1alpha1.LoadBalancingCluster{},
	}
	for i := range w.Hosts {
		h := &w.Hosts[i]
		x.hostsOf[h.Spec.ClusterName] = append(x.hostsOf[h.Spec.ClusterName], h)
		for _, ip := range h.Spec.VirtualIPs {
			x.traces[ip] = append(x.traces[ip], h)
		}
		for _, ip := range h.Status.Dataplane.VirtualIPs {
			if !slices.Contains(h.Spec.VirtualIPs, ip) {
				x.traces[ip] = append(x.traces[ip], h)
			}
		}
	}
	for _, hosts := range []map[string][]*v1alpha1.LoadBalancingHost{x.hostsOf, x.traces} {
		for key := range hosts {
			slices.SortFunc(hosts[key], func(a, b *v1alpha1.LoadBalancingHost) int { return cmp.Compare(a.Name, b.Name) })
		}
	}
	for i := range w.Nodes {
		x.addNode(&w.Nodes[i])
	}
	for i := range w.Clusters {
		x.clusters = append(x.clusters, &w.Clusters[i])
	}
	slices.SortFunc(x.clusters, older)
	x.findAssigned()
	return x
}

// older sorts clusters by the time of their creation, which has whole seconds, and then by name.
func older(a, b *v1alpha1.LoadBalancingCluster) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// addNode notes a node's addresses; its other entries are names.
func (x *index) addNode(node *corev1.Node) {
	for _, a := range node.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil {
			continue
		}
		key := ip.Unmap().WithZone("").String()
		if first, known := x.nodes[key]; !known || node.Name < first.node {
			x.nodes[key] = nodeAddress{node: node.Name, kind: a.Type}
		}
	}
}

// findAssigned takes what is assigned from the status of the clusters. That two have one address cannot come from here,
// but from a status that people wrote or restored: then it is the one whose hosts have it, else the older.
func (x *index) findAssigned() {
	for _, c := range x.clusters {
		for _, ip := range c.Status.VirtualIPs {
			if first := x.clusterOf[ip]; first == nil || !x.hasTraces(first, ip) && x.hasTraces(c, ip) {
				x.clusterOf[ip] = c
			}
		}
	}
}

func (x *index) hasTraces(c *v1alpha1.LoadBalancingCluster, ip string) bool {
	return slices.ContainsFunc(x.traces[ip],
		func(h *v1alpha1.LoadBalancingHost) bool { return h.Spec.ClusterName == c.Name })
}

// foreign are the hosts of other clusters that have the address.
func (x *index) foreign(cluster, ip string) []*v1alpha1.LoadBalancingHost {
	var hosts []*v1alpha1.LoadBalancingHost
	for _, h := range x.traces[ip] {
		if h.Spec.ClusterName != cluster {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// serving are the hosts of a cluster that may serve the address.
func (x *index) serving(cluster, ip string) []*v1alpha1.LoadBalancingHost {
	var hosts []*v1alpha1.LoadBalancingHost
	for _, h := range x.hostsOf[cluster] {
		if mayServe(h, ip) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// mayServe reports whether a host may serve an address: its spec says so, its status does, or it has not acted on
// its newest spec yet, while an older one may have said so. The first spec of a host never does.
func mayServe(h *v1alpha1.LoadBalancingHost, ip string) bool {
	if slices.Contains(h.Spec.VirtualIPs, ip) || slices.Contains(h.Status.Dataplane.VirtualIPs, ip) {
		return true
	}
	observed := h.Status.ObservedGeneration
	return h.Generation > 1 && (observed == nil || *observed < h.Generation)
}
