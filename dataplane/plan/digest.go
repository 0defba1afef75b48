// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

// What the digests are of, with the version of their contents. Hosts of two versions of kube-wlbs form one cluster only
// while they come to the same digests: see docs/design/wire.md before changing anything here.
const (
	policyContent = "kube-wlbs policy 1"
	slotContent   = "kube-wlbs slot 1"
)

// Defaults of the digests' contents. They are not the API's: those may change, and what a digest stands for must not.
const (
	contentPeriod    = 200 // milliseconds
	contentTolerance = 5
	contentPortTo    = 65535
)

// digestAll computes the digests of what all hosts must have in common. Settings of single hosts are not in them: they
// travel in heartbeats and may differ.
func (p *Plan) digestAll(spec *v1alpha1.LoadBalancingClusterSpec) error {
	var err error
	if p.Digest, err = p.policyDigest(spec); err != nil {
		return err
	}
	for slot := range p.SlotNames {
		if p.Slots[slot].Digest, err = p.slotDigest(p.rulesOf(slot), p.Slots[slot].Affinity, false); err != nil {
			return err
		}
	}
	p.keyRules()
	p.Slots[bucket.DefaultSlot].Digest, err = p.slotDigest(p.Rules, p.Slots[bucket.DefaultSlot].Affinity, true)
	return err
}

// policyDigest is of everything that all hosts must have in common before they may filter by it.
func (p *Plan) policyDigest(spec *v1alpha1.LoadBalancingClusterSpec) (uint64, error) {
	e := newEncoder(policyContent)
	if err := p.encodePolicy(e, spec); err != nil {
		return 0, err
	}
	sum, err := e.sum()
	if err != nil {
		return 0, fmt.Errorf("spec: %w", err)
	}
	return sum, nil
}

func (p *Plan) encodePolicy(e *encoder, spec *v1alpha1.LoadBalancingClusterSpec) error {
	word(e, 1, "mode", spec.EffectiveMode(), v1alpha1.ModeMulticast, v1alpha1.ModeUnicast, v1alpha1.ModeIGMPMulticast)
	e.addrs(2, []netip.Addr{p.Primary})
	e.addrs(3, p.VIPs)
	for _, rule := range spec.EffectivePortRules() {
		vip, err := virtualIPOf(&rule)
		if err != nil {
			return err
		}
		e.nested(4, func(e *encoder) { encodePortRule(e, &rule, vip) })
	}
	e.number(5, uint64(p.Period/time.Millisecond), contentPeriod)
	e.number(6, uint64(p.Tolerance), contentTolerance)
	return nil
}

// encodePortRule writes a port rule whose defaults are filled in.
func encodePortRule(e *encoder, r *v1alpha1.PortRule, vip netip.Addr) {
	e.bytes(1, []byte(r.Name))
	e.number(2, uint64(r.Ports.From), 0)
	e.number(3, uint64(r.Ports.To), contentPortTo)
	word(e, 4, "protocol", r.Protocol, v1alpha1.ProtocolBoth, v1alpha1.ProtocolTCP, v1alpha1.ProtocolUDP)
	e.bytes(5, vip.AsSlice())
	word(e, 6, "filteringMode", r.FilteringMode, v1alpha1.FilteringModeMultiple, v1alpha1.FilteringModeSingle,
		v1alpha1.FilteringModeDisabled)
	if r.FilteringMode == v1alpha1.FilteringModeMultiple {
		word(e, 7, "affinity", r.Affinity, v1alpha1.AffinitySingle, v1alpha1.AffinityNone, v1alpha1.AffinityNetwork)
		if r.AffinityTimeoutSeconds != nil {
			e.number(8, uint64(*r.AffinityTimeoutSeconds), 0)
		}
	}
}

// slotDigest is of what decides which packets fall into a slot, and into which bucket: the rules that have a say, and
// the affinity. Into the default slot fall the packets that no rule takes.
func (p *Plan) slotDigest(rules []filter.Rule, affinity filter.Affinity, isDefault bool) (uint64, error) {
	e := newEncoder(slotContent)
	e.addrs(1, p.VIPs)
	for _, r := range rules {
		e.nested(2, func(e *encoder) {
			e.number(1, uint64(r.From), 0)
			e.number(2, uint64(r.To), contentPortTo)
			e.flag(3, !r.TCP)
			e.flag(4, !r.UDP)
			e.bytes(5, r.VIP.AsSlice())
		})
	}
	e.number(3, affinityNumber(affinity), 0)
	e.flag(4, isDefault)
	return e.sum()
}

// affinityNumber is an affinity in a digest; the default is 0.
func affinityNumber(a filter.Affinity) uint64 {
	switch a {
	case filter.AffinityNone:
		return 1
	case filter.AffinityNetwork:
		return 2
	default:
		return 0
	}
}

// keyRules gives a key to each rule with extended affinity, by what falls into it: clients stay where they are when
// rules only change places. All hosts come to the same keys, which are on the wire with the clients.
func (p *Plan) keyRules() {
	used := map[uint32]bool{0: true}
	for slot := range p.SlotNames {
		s := &p.Slots[slot]
		if s.StickyFor == 0 {
			continue
		}
		for s.Sticky = uint32(s.Digest); used[s.Sticky]; {
			s.Sticky++
		}
		used[s.Sticky] = true
	}
}

// rulesOf returns the rules that decide which packets fall into a slot: its own, and those
// for one virtual IP that take some away from a rule for all.
func (p *Plan) rulesOf(slot int) []filter.Rule {
	own := p.Rules[slot]
	rules := []filter.Rule{own}
	for _, r := range p.Rules {
		if !own.VIP.IsValid() && r.VIP.IsValid() && r.From <= own.To && own.From <= r.To {
			rules = append(rules, r)
		}
	}
	return rules
}
