// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// Source tells the agent what the node is to be.
type Source interface {
	// Run calls deliver with every new state until ctx ends. It returns an error only
	// when it can never deliver anything; what may pass is retried and logged.
	Run(ctx context.Context, deliver func(plan.Config)) error
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
