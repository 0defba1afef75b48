// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "time"

// What holds where the spec says nothing. Defaults are not written into objects, so that unset keeps
// meaning "the user did not say" and a later version may choose better.
const (
	// DefaultMode is the mode of a cluster: Multicast needs nothing of a switch and no change of the nodes' own MACs.
	DefaultMode = ModeMulticast
	// DefaultProtocol is the protocol of a port rule, as in WLBS.
	DefaultProtocol = ProtocolBoth
	// DefaultFilteringMode is the filtering mode of a port rule, as in WLBS.
	DefaultFilteringMode = FilteringModeMultiple
	// DefaultAffinity is the affinity of a port rule with FilteringModeMultiple, as in WLBS.
	DefaultAffinity = AffinitySingle
	// DefaultLoadWeight is a host's weight, 0..100, as in WLBS.
	DefaultLoadWeight int32 = 50
	// DefaultPeriodMilliseconds is the time between heartbeats; WLBS had 1000.
	DefaultPeriodMilliseconds int32 = 200
	// DefaultTolerance is the number of silent periods after which a host is lost, as in WLBS.
	DefaultTolerance int32 = 5
	// DefaultWindowSeconds is how long progress must be missing before a host counts as stalled.
	DefaultWindowSeconds int32 = 5
	// DefaultMinPackets is the least number of packets in the window that counts as evidence of a stall.
	DefaultMinPackets int32 = 16
	// DefaultMaxConnections is the size of the table of tracked connections.
	DefaultMaxConnections int32 = 262144
	// DefaultRemovalDrainSeconds bounds the drain of a host whose node is deleted or no longer selected.
	DefaultRemovalDrainSeconds int32 = 30

	// MaxHosts is the number of hosts a cluster can have: heartbeats carry host IDs 1..32.
	MaxHosts = 32
	// MaxPortRules is the number of port rules of a cluster: heartbeats have 32 slots and one for the default rule.
	MaxPortRules = 32

	// AllPortsRuleName names the rule that is in force when the spec has none.
	AllPortsRuleName = "all"
	// DefaultRuleName names, in status, the rule for ports that no rule covers.
	DefaultRuleName = "default"
)

// EffectiveMode is the mode in force.
func (s *LoadBalancingClusterSpec) EffectiveMode() Mode { return orDefault(s.Mode, DefaultMode) }

// EffectivePortRules returns the port rules in force with all their defaults filled in, in the order of the spec.
func (s *LoadBalancingClusterSpec) EffectivePortRules() []PortRule {
	if len(s.PortRules) == 0 {
		return []PortRule{(&PortRule{Name: AllPortsRuleName, Ports: PortRange{From: 0, To: 65535}}).effective()}
	}
	rules := make([]PortRule, 0, len(s.PortRules))
	for i := range s.PortRules {
		rules = append(rules, s.PortRules[i].effective())
	}
	return rules
}

func (r *PortRule) effective() PortRule {
	out := *r.DeepCopy()
	out.Protocol = orDefault(r.Protocol, DefaultProtocol)
	out.FilteringMode = orDefault(r.FilteringMode, DefaultFilteringMode)
	if out.FilteringMode == FilteringModeMultiple {
		out.Affinity = orDefault(r.Affinity, DefaultAffinity)
	}
	return out
}

// Period is the time between two heartbeats of a host.
func (h *Heartbeat) Period() time.Duration {
	return time.Duration(valueOr(h.PeriodMilliseconds, DefaultPeriodMilliseconds)) * time.Millisecond
}

// EffectiveTolerance is the number of periods a host may be silent before it is lost.
func (h *Heartbeat) EffectiveTolerance() int32 { return valueOr(h.Tolerance, DefaultTolerance) }

// Window is how long progress must be missing before a host counts as stalled.
func (s *StallDetection) Window() time.Duration {
	return time.Duration(valueOr(s.WindowSeconds, DefaultWindowSeconds)) * time.Second
}

// EffectiveMinPackets is the least number of packets in the window that counts as evidence.
func (s *StallDetection) EffectiveMinPackets() int32 { return valueOr(s.MinPackets, DefaultMinPackets) }

// EffectiveAction is what is done about a stalled host.
func (s *StallDetection) EffectiveAction() StallAction { return orDefault(s.Action, StallActionReport) }

// EffectiveHook is the hook that the user asks for.
func (d *Dataplane) EffectiveHook() Hook { return orDefault(d.Hook, HookAuto) }

// EffectiveMaxConnections is the size of the table of tracked connections.
func (d *Dataplane) EffectiveMaxConnections() int32 {
	return valueOr(d.MaxConnections, DefaultMaxConnections)
}

// EffectiveDesiredState is the state that the operator wants the host to be in.
func (h *HostConfig) EffectiveDesiredState() DesiredState {
	return orDefault(h.DesiredState, DesiredStateStarted)
}

// EffectiveLoadWeight is the host's weight under FilteringModeMultiple, 0..100.
func (r *HostRule) EffectiveLoadWeight() int32 { return valueOr(r.LoadWeight, DefaultLoadWeight) }

// EffectiveState is the state that the operator wants the rule to be in on the host.
func (r *HostRule) EffectiveState() RuleState { return orDefault(r.State, RuleStateEnabled) }

// EffectiveDesiredState is the state that the operator wants the host to be in.
func (s *LoadBalancingHostSpec) EffectiveDesiredState() DesiredState {
	return orDefault(s.DesiredState, DesiredStateStarted)
}

// Rule returns the host's settings of the named rule with their defaults filled in. Handling priority has none: a host
// without one comes after those with one.
func (s *LoadBalancingHostSpec) Rule(name string) HostRule {
	rule := HostRule{Name: name}
	for i := range s.Rules {
		if s.Rules[i].Name == name {
			rule = *s.Rules[i].DeepCopy()
		}
	}
	weight := rule.EffectiveLoadWeight()
	rule.LoadWeight = &weight
	rule.State = rule.EffectiveState()
	return rule
}

func orDefault[T ~string](value, otherwise T) T {
	if value == "" {
		return otherwise
	}
	return value
}

func valueOr(value *int32, otherwise int32) int32 {
	if value == nil {
		return otherwise
	}
	return *value
}
