// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFieldsWithoutEffect(t *testing.T) {
	if got := FieldsWithoutEffect(&LoadBalancingClusterSpec{}); got != nil {
		t.Errorf("empty spec: %v", got)
	}
	inEffect := LoadBalancingClusterSpec{
		Mode:      ModeUnicast,
		PortRules: []PortRule{{Name: "db", FilteringMode: FilteringModeSingle}, {Name: "http", Affinity: AffinityNetwork}},
		Hosts: []HostConfig{
			{NodeName: "node-a", DesiredState: HostStateDrained},
			{NodeName: "node-b", DesiredState: HostStateSuspended, Rules: []HostRule{{Name: "http", State: RuleStateDisabled, LoadWeight: new(int32(1))}}},
		},
		StallDetection: StallDetection{Action: StallActionEvict},
	}
	if got := FieldsWithoutEffect(&inEffect); got != nil {
		t.Errorf("spec of fields in effect: %v", got)
	}
	without := LoadBalancingClusterSpec{PortRules: []PortRule{{Name: "http", AffinityTimeoutSeconds: new(int32(600))}}}
	want := []string{"spec.portRules[http].affinityTimeoutSeconds=600"}
	if diff := cmp.Diff(want, FieldsWithoutEffect(&without)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
