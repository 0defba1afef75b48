// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// Policy is the plan in the terms of convergence.
func (p *Plan) Policy() convergence.Policy {
	policy := convergence.Policy{Generation: p.Generation, Digest: p.Digest, RuleCount: len(p.SlotNames)}
	for _, slot := range p.UsedSlots() {
		s := &p.Slots[slot]
		policy.Slots[slot] = convergence.SlotPolicy{
			Mode: s.Mode, Digest: s.Digest, Weight: s.Weight, Priority: s.Priority, State: heartbeatState(s.State),
			Name: p.SlotName(slot),
		}
	}
	return policy
}

// Settings is what convergence needs of the plan once. hostAddr is the node's own address on the interface, incarnation
// grows with every start of the host, hostCode is random.
func (p *Plan) Settings(hostAddr netip.Addr, incarnation uint64, hostCode uint32) convergence.Settings {
	s := convergence.Settings{
		HostID:      p.HostID,
		HostKey:     p.HostKey(),
		HostCode:    hostCode,
		Incarnation: incarnation,
		ClusterKey:  p.ClusterKey(),
		HostName:    p.NodeName,
		Period:      p.Period,
		Tolerance:   p.Tolerance,
	}
	if p.Primary.Is4() {
		s.ClusterIP = p.Primary.As4()
	}
	if hostAddr.Is4() {
		s.HostIP = hostAddr.As4()
	}
	return s
}

// AdminState is the state that the plan wants the host to be in, in the terms of convergence.
func (p *Plan) AdminState() convergence.AdminState {
	switch p.DesiredState {
	case v1alpha1.DesiredStateStopped:
		return convergence.Stopped
	case v1alpha1.DesiredStateSuspended:
		return convergence.Suspended
	case v1alpha1.DesiredStateDrained:
		return convergence.Drained
	default:
		return convergence.Started
	}
}

// Table is what the filter shall do by this plan and the buckets that convergence gave the host. mayHold says that the
// host may keep clients by extended affinity.
func (p *Plan) Table(d *convergence.Decision, mayHold bool) filter.Table {
	t := filter.Table{Epoch: uint64(d.Epoch), VIPs: p.VIPs}
	for _, r := range p.Rules {
		if !r.VIP.IsValid() || slices.Contains(p.VIPs, r.VIP) {
			t.Rules = append(t.Rules, r)
		}
	}
	for _, slot := range p.UsedSlots() {
		s := &p.Slots[slot]
		t.Slots[slot] = filter.Slot{Filter: filterMode(s), Affinity: s.Affinity, Own: d.Accept[slot], Busy: d.Busy[slot]}
		if s.holds(mayHold, d.Accept[slot]) {
			t.Slots[slot].Sticky, t.Slots[slot].StickyFor = s.Sticky, s.StickyFor
		}
	}
	return t
}

// holds reports whether extended affinity works in a slot. Who takes no new connections holds nobody; but as long as it
// has buckets, it leaves the clients of others alone.
func (s *Slot) holds(mayHold bool, own bucket.Map) bool {
	return s.Sticky != 0 && (own != 0 || mayHold && s.State == v1alpha1.RuleStateEnabled && s.Weight > 0)
}

func placementMode(m v1alpha1.FilteringMode) placement.Mode {
	switch m {
	case v1alpha1.FilteringModeSingle:
		return placement.Single
	case v1alpha1.FilteringModeDisabled:
		return placement.Disabled
	default:
		return placement.Multiple
	}
}

// filterMode lets nothing in where the rule is disabled, for all hosts or for this one.
func filterMode(s *Slot) filter.Mode {
	switch {
	case s.Mode == placement.Disabled || s.State == v1alpha1.RuleStateDisabled:
		return filter.ModeDisabled
	case s.Mode == placement.Single:
		return filter.ModeSingle
	default:
		return filter.ModeMultiple
	}
}

func heartbeatState(s v1alpha1.RuleState) heartbeat.RuleState {
	switch s {
	case v1alpha1.RuleStateDisabled:
		return heartbeat.Disabled
	case v1alpha1.RuleStateDrained:
		return heartbeat.Drained
	default:
		return heartbeat.Enabled
	}
}

func filterAffinity(a v1alpha1.Affinity) filter.Affinity {
	switch a {
	case v1alpha1.AffinityNone:
		return filter.AffinityNone
	case v1alpha1.AffinityNetwork:
		return filter.AffinityNetwork
	default:
		return filter.AffinitySingle
	}
}
