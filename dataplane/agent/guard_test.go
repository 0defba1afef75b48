// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

func TestRefuseCommandsToSuspended(t *testing.T) {
	states := func(states ...v1alpha1.DesiredState) plan.Config {
		d := plan.Config{Cluster: &v1alpha1.LoadBalancingCluster{}}
		for i, state := range states {
			d.Cluster.Spec.Hosts = append(d.Cluster.Spec.Hosts, v1alpha1.HostConfig{NodeName: "node-" + string(rune('a'+i)), DesiredState: state})
		}
		return d
	}
	const started, stopped, drained, suspended = v1alpha1.DesiredStateStarted, v1alpha1.DesiredStateStopped, v1alpha1.DesiredStateDrained, v1alpha1.DesiredStateSuspended
	all := []v1alpha1.DesiredState{"", started, stopped, drained, suspended}
	for _, from := range all {
		for _, to := range all {
			refused := from == suspended && to != suspended && to != stopped
			err := RefuseCommandsToSuspended(states(started, from), states(started, to))
			if refused != (err != nil) {
				t.Errorf("%q to %q: %v", from, to, err)
			}
			if err != nil && (!strings.Contains(err.Error(), "spec.hosts[node-b].desiredState") || !strings.Contains(err.Error(), "resume it first by desiredState Stopped")) {
				t.Errorf("%q names neither the host nor the fix", err)
			}
		}
	}
	for name, pair := range map[string][2]plan.Config{
		"first config":   {plan.Config{}, states(started)},
		"entry removed":  {states(started, suspended), states(started)},
		"no host before": {states(), states(started)},
	} {
		if err := RefuseCommandsToSuspended(pair[0], pair[1]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
