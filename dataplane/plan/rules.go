// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// Slot is the policy of a port rule, or of the default rule, and this host's part in it.
type Slot struct {
	// Mode and Affinity say how the rule spreads clients over the hosts.
	Mode     placement.Mode
	Affinity filter.Affinity
	// Digest stands for what decides which packets fall into the slot, and into which bucket. It is never 0.
	Digest uint64
	// Weight is the host's share, 0..100, in relation to the others' weights.
	Weight uint32
	// Priority is the host's place in a rule of mode Single, 0..63: the lowest one serves.
	Priority uint8
	// State is what an operator wants the host to do with the rule.
	State v1alpha1.RuleState
	// Sticky is the key of extended affinity, the same on all hosts, and 0 without; StickyFor is how long a client stays.
	Sticky    uint32
	StickyFor time.Duration
}

func (p *Plan) resolveRules(
	spec *v1alpha1.LoadBalancingClusterSpec, host *v1alpha1.LoadBalancingHostSpec, all []netip.Addr,
) error {
	rules := spec.EffectivePortRules()
	if len(rules) > v1alpha1.MaxPortRules {
		return fmt.Errorf("spec.portRules: %d rules, at most %d are possible", len(rules), v1alpha1.MaxPortRules)
	}
	for slot := range rules {
		r := &rules[slot]
		rule, err := filterRule(r, slot, all)
		if err != nil {
			return fmt.Errorf("spec.portRules[%d] (%s): %w", slot, r.Name, err)
		}
		mine := host.Rule(r.Name)
		p.Rules = append(p.Rules, rule)
		p.SlotNames = append(p.SlotNames, r.Name)
		p.Slots[slot] = Slot{
			Mode:     placementMode(r.FilteringMode),
			Affinity: filterAffinity(r.Affinity),
			Weight:   uint32(*mine.LoadWeight),
			Priority: handlingOrder(mine.HandlingPriority, host.HostID),
			State:    mine.State,
		}
		if r.AffinityTimeoutSeconds != nil && r.FilteringMode == v1alpha1.FilteringModeMultiple &&
			r.Affinity != v1alpha1.AffinityNone {
			p.Slots[slot].StickyFor = time.Duration(*r.AffinityTimeoutSeconds) * time.Second
		}
	}
	p.Slots[bucket.DefaultSlot] = Slot{
		Mode:     placement.Multiple,
		Affinity: filter.AffinitySingle,
		Weight:   uint32(v1alpha1.DefaultLoadWeight),
		Priority: handlingOrder(nil, host.HostID),
		State:    v1alpha1.RuleStateEnabled,
	}
	return nil
}

// filterRule is a port rule in the terms of the filter. all are the virtual IPs that the cluster has.
func filterRule(r *v1alpha1.PortRule, slot int, all []netip.Addr) (filter.Rule, error) {
	rule := filter.Rule{
		From: uint16(r.Ports.From),
		To:   uint16(r.Ports.To),
		TCP:  r.Protocol != v1alpha1.ProtocolUDP,
		UDP:  r.Protocol != v1alpha1.ProtocolTCP,
		Slot: uint8(slot),
	}
	if r.Ports.From < 0 || r.Ports.To > 65535 || r.Ports.From > r.Ports.To {
		return rule, fmt.Errorf("ports %d-%d are no range within 0-65535", r.Ports.From, r.Ports.To)
	}
	vip, err := virtualIPOf(r)
	if err != nil {
		return rule, err
	}
	if vip.IsValid() && !slices.Contains(all, vip) {
		return rule, fmt.Errorf("virtualIP %s is not in spec.virtualIPs", vip)
	}
	rule.VIP = vip
	return rule, nil
}

// handlingOrder is a host's place in a Single rule as heartbeats carry it: 0..31 for the handling priorities 1..32,
// then hosts without one by their IDs.
func handlingOrder(priority *int32, hostID int32) uint8 {
	if priority == nil {
		return uint8(v1alpha1.MaxHosts + hostID - 1)
	}
	return uint8(*priority - 1)
}
