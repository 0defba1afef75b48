// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEffectivePortRules(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rules []PortRule
		want  []PortRule
	}{
		{
			name: "none: the rule that WLBS installs",
			want: []PortRule{{Name: "all", Ports: PortRange{0, 65535}, Protocol: ProtocolBoth, FilteringMode: FilteringModeMultiple, Affinity: AffinitySingle}},
		},
		{
			name:  "all defaults",
			rules: []PortRule{{Name: "http", Ports: PortRange{80, 80}}},
			want:  []PortRule{{Name: "http", Ports: PortRange{80, 80}, Protocol: ProtocolBoth, FilteringMode: FilteringModeMultiple, Affinity: AffinitySingle}},
		},
		{
			name:  "affinity means nothing outside Multiple",
			rules: []PortRule{{Name: "db", Ports: PortRange{5432, 5432}, FilteringMode: FilteringModeSingle}, {Name: "telnet", Ports: PortRange{23, 23}, FilteringMode: FilteringModeDisabled}},
			want: []PortRule{
				{Name: "db", Ports: PortRange{5432, 5432}, Protocol: ProtocolBoth, FilteringMode: FilteringModeSingle},
				{Name: "telnet", Ports: PortRange{23, 23}, Protocol: ProtocolBoth, FilteringMode: FilteringModeDisabled},
			},
		},
		{
			name:  "what is set stays",
			rules: []PortRule{{Name: "dns", Ports: PortRange{53, 53}, Protocol: ProtocolUDP, VirtualIP: "192.0.2.10", FilteringMode: FilteringModeMultiple, Affinity: AffinityNetwork, AffinityTimeoutSeconds: new(int32(60))}},
			want:  []PortRule{{Name: "dns", Ports: PortRange{53, 53}, Protocol: ProtocolUDP, VirtualIP: "192.0.2.10", FilteringMode: FilteringModeMultiple, Affinity: AffinityNetwork, AffinityTimeoutSeconds: new(int32(60))}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spec := &LoadBalancingClusterSpec{PortRules: tc.rules}
			before := spec.DeepCopy()
			if diff := cmp.Diff(tc.want, spec.EffectivePortRules()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, spec); diff != "" {
				t.Errorf("the spec was changed: %s", diff)
			}
		})
	}
}

func TestEffectiveSettings(t *testing.T) {
	unset, set := LoadBalancingClusterSpec{}, LoadBalancingClusterSpec{
		Mode:           ModeUnicast,
		Heartbeat:      Heartbeat{PeriodMilliseconds: new(int32(1000)), Tolerance: new(int32(3))},
		StallDetection: StallDetection{WindowSeconds: new(int32(10)), MinPackets: new(int32(1)), Action: StallActionEvict},
		Dataplane:      Dataplane{Hook: HookTCX, MaxConnections: new(int32(1024))},
	}
	type settings struct {
		Mode           Mode
		Period         time.Duration
		Tolerance      int32
		Window         time.Duration
		MinPackets     int32
		Action         StallAction
		Hook           Hook
		MaxConnections int32
	}
	of := func(s *LoadBalancingClusterSpec) settings {
		return settings{
			s.EffectiveMode(), s.Heartbeat.Period(), s.Heartbeat.EffectiveTolerance(), s.StallDetection.Window(),
			s.StallDetection.EffectiveMinPackets(), s.StallDetection.EffectiveAction(), s.Dataplane.EffectiveHook(), s.Dataplane.EffectiveMaxConnections(),
		}
	}
	if diff := cmp.Diff(settings{ModeMulticast, 200 * time.Millisecond, 5, 5 * time.Second, 16, StallActionReport, HookAuto, 262144}, of(&unset)); diff != "" {
		t.Errorf("unset (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(settings{ModeUnicast, time.Second, 3, 10 * time.Second, 1, StallActionEvict, HookTCX, 1024}, of(&set)); diff != "" {
		t.Errorf("set (-want +got):\n%s", diff)
	}
}

func TestHostRule(t *testing.T) {
	spec := LoadBalancingHostSpec{HostID: 7, Rules: []HostRule{
		{Name: "http", LoadWeight: new(int32(0))}, {Name: "db", HandlingPriority: new(int32(2)), State: RuleStateDrained},
	}}
	for _, want := range []HostRule{
		{Name: "http", LoadWeight: new(int32(0)), State: RuleStateEnabled},
		{Name: "db", LoadWeight: new(int32(50)), HandlingPriority: new(int32(2)), State: RuleStateDrained},
		{Name: "other", LoadWeight: new(int32(50)), State: RuleStateEnabled},
	} {
		if diff := cmp.Diff(want, spec.Rule(want.Name)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if spec.EffectiveDesiredState() != DesiredStateStarted || (&LoadBalancingHostSpec{DesiredState: DesiredStateStopped}).EffectiveDesiredState() != DesiredStateStopped {
		t.Error("desired state")
	}
}
