// SPDX-License-Identifier: Apache-2.0

package hostspec

import "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"

// Of returns what the host on a node shall be: what the node's entry in spec.hosts says, if it has one, and what is
// the same for all hosts of the cluster. vips are those of spec.virtualIPs that are assigned to the cluster.
func Of(cluster *v1alpha1.LoadBalancingCluster, node string, id int32, vips []string) v1alpha1.LoadBalancingHostSpec {
	entry := cluster.Spec.HostConfigOf(node)
	return v1alpha1.LoadBalancingHostSpec{
		ClusterName:         cluster.Name,
		NodeName:            node,
		HostID:              id,
		VirtualIPs:          vips,
		DesiredState:        entry.EffectiveDesiredState(),
		DrainTimeoutSeconds: cluster.Spec.DrainTimeoutOf(&entry),
		Rules:               entry.Rules,
	}
}
