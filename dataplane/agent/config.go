// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Desired is what one node is asked to be: a host of a cluster, or no longer one.
type Desired struct {
	// Cluster is the cluster-wide part, equal on all hosts.
	Cluster *v1alpha1.LoadBalancingCluster `json:"cluster,omitempty"`
	// Host is this node's part; nil when the node is no host of the cluster.
	Host *v1alpha1.LoadBalancingHost `json:"host,omitempty"`
}

// Removed reports whether the node is to leave the cluster and to be left as it was before.
func (d Desired) Removed() bool {
	return d.Cluster == nil || d.Host == nil || !d.Host.DeletionTimestamp.IsZero()
}

// Source tells the agent what the node is to be.
type Source interface {
	// Run calls deliver with every new state until ctx ends. It returns an error only
	// when it can never deliver anything; what may pass is retried and logged.
	Run(ctx context.Context, deliver func(Desired)) error
}

// Sink takes the host's status to where people read it.
type Sink interface {
	// Run writes what Report was given last until ctx ends.
	Run(ctx context.Context) error
	// Report never blocks: only the newest status matters.
	Report(status *v1alpha1.LoadBalancingHostStatus)
	// Released says that nothing of the cluster is left on this node.
	Released(ctx context.Context) error
}
