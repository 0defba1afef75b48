// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Problem is what is wrong with one virtual IP of a cluster.
type Problem struct {
	// Reason is v1alpha1.ReasonVirtualIPConflict or v1alpha1.ReasonVirtualIPIsNodeAddress.
	Reason string
	// Message names the address, who has it, and what helps.
	Message string
}

// Explain says which virtual IPs of a cluster are not assigned to it, and why, and which are although a node has
// got them since. An address that is about to be given to the cluster is no problem.
func Explain(w World, cluster *v1alpha1.LoadBalancingCluster) []Problem {
	x := newIndex(w)
	var problems []Problem
	for i, ip := range cluster.Spec.VirtualIPs {
		other, isAssigned := x.clusterOf[ip]
		own := isAssigned && other.Name == cluster.Name
		node, isNodes := x.nodes[ip]
		switch {
		case isNodes && own:
			problems = append(problems, Problem{v1alpha1.ReasonVirtualIPIsNodeAddress, fmt.Sprintf(
				"%s is served, and has become the %s of node %s since: clients reach one or the other, give the node another address", ip, node.kind, node.node)})
		case isNodes:
			problems = append(problems, Problem{v1alpha1.ReasonVirtualIPIsNodeAddress, fmt.Sprintf(
				"%s is the %s of node %s and is not served: %s", ip, node.kind, node.node, insteadOf(i))})
		case own:
		case isAssigned && slices.Contains(other.Spec.VirtualIPs, ip):
			problems = append(problems, Problem{v1alpha1.ReasonVirtualIPConflict, fmt.Sprintf(
				"%s is assigned to LoadBalancingCluster %s, which asked first, and is not served by this one: %s, or take it from %s",
				ip, other.Name, insteadOf(i), other.Name)})
		case isAssigned:
			problems = append(problems, stillServed(ip, other.Name, x.serving(other.Name, ip)))
		default:
			if hosts := x.foreign(cluster.Name, ip); len(hosts) > 0 {
				problems = append(problems, stillServed(ip, hosts[0].Spec.ClusterName, hosts))
			}
		}
	}
	return problems
}

// insteadOf says what to do about a virtual IP of this cluster: the first of them cannot be changed.
func insteadOf(index int) string {
	if index == 0 {
		return "delete this cluster, and create it with a free address"
	}
	return "put a free address into spec.virtualIPs instead"
}

// stillServed names an address that its cluster gave up, but whose hosts have not said that they did.
func stillServed(ip, cluster string, hosts []*v1alpha1.LoadBalancingHost) Problem {
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Name)
	}
	return Problem{v1alpha1.ReasonVirtualIPConflict, fmt.Sprintf(
		"%s is no longer a virtual IP of LoadBalancingCluster %s, but may still be served by LoadBalancingHost %s: it is free when their agents have let go, or when their nodes are deleted",
		ip, cluster, strings.Join(names, ", "))}
}
