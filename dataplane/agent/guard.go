// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// RefuseCommandsToSuspended refuses what the API server does by its transition rules, for sources without one: a suspended host
// takes no control command but resume, which leaves it stopped. A node whose entry is gone is no host any more, which
// is no command to one.
func RefuseCommandsToSuspended(before, after plan.Config) error {
	if before.Cluster == nil || after.Cluster == nil {
		return nil
	}
	for i := range before.Cluster.Spec.Hosts {
		was := &before.Cluster.Spec.Hosts[i]
		if was.EffectiveDesiredState() != v1alpha1.DesiredStateSuspended {
			continue
		}
		for j := range after.Cluster.Spec.Hosts {
			is := &after.Cluster.Spec.Hosts[j]
			if is.NodeName != was.NodeName {
				continue
			}
			switch state := is.EffectiveDesiredState(); state {
			case v1alpha1.DesiredStateSuspended, v1alpha1.DesiredStateStopped:
			case v1alpha1.DesiredStateStarted, v1alpha1.DesiredStateDrained:
				return fmt.Errorf("spec.hosts[%s].desiredState: %s is refused, for the host is suspended: resume it first by desiredState Stopped, which leaves it stopped, and start or drain it then",
					is.NodeName, state)
			}
		}
	}
	return nil
}
