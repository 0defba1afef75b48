// SPDX-License-Identifier: Apache-2.0

package plan

import "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"

// Config is what one node is asked to be in one cluster: a host of it, or no longer one. A config source delivers it,
// and the objects in it must not be changed afterwards.
type Config struct {
	// Cluster is the cluster-wide part, equal on all hosts.
	Cluster *v1alpha1.LoadBalancingCluster `json:"cluster,omitempty"`
	// Host is this node's part; nil when the node is no host of the cluster.
	Host *v1alpha1.LoadBalancingHost `json:"host,omitempty"`
	// Refused is why a newer config is not in force, from a source that can refuse one; "" if there is none.
	Refused string `json:"-"`
}

// Removed reports whether the node is to leave the cluster and to be left as it was before.
func (c Config) Removed() bool {
	return c.Cluster == nil || c.Host == nil || !c.Host.DeletionTimestamp.IsZero()
}

// Generation is that of the cluster object, 0 without one.
func (c Config) Generation() int64 {
	if c.Cluster == nil {
		return 0
	}
	return c.Cluster.Generation
}
