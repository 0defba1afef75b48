// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

// digestAll computes the digests of what all hosts must have in common. Settings of single
// hosts are not in them: they travel in heartbeats and may differ.
func (p *Plan) digestAll(spec *v1alpha1.LoadBalancingClusterSpec) error {
	var err error
	if p.Digest, err = digest(spec.EffectiveMode(), p.VIPs, spec.EffectivePortRules(), p.Period, p.Tolerance); err != nil {
		return err
	}
	for slot := range p.SlotNames {
		if p.Slots[slot].Digest, err = digest(p.VIPs, p.packetsOf(slot), p.Slots[slot].Affinity); err != nil {
			return err
		}
	}
	p.keyRules()
	p.Slots[bucket.DefaultSlot].Digest, err = digest(p.VIPs, p.Rules)
	return err
}

// keyRules gives a key to each rule with extended affinity, by what falls into it: clients stay where they are when rules
// only change places. All hosts come to the same keys.
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

// packetsOf returns the rules that decide which packets fall into a slot: its own, and those
// for one virtual IP that take some away from a rule for all.
func (p *Plan) packetsOf(slot int) []filter.Rule {
	own := p.Rules[slot]
	own.Slot = 0 // a rule that only moved in the list is the same
	rules := []filter.Rule{own}
	for _, r := range p.Rules {
		if !own.VIP.IsValid() && r.VIP.IsValid() && r.From <= own.To && own.From <= r.To {
			r.Slot = 0
			rules = append(rules, r)
		}
	}
	return rules
}

// digest returns a hash of its arguments that is not 0.
func digest(of ...any) (uint64, error) {
	content, err := json.Marshal(of)
	if err != nil {
		return 0, fmt.Errorf("digest: %w", err)
	}
	sum := sha256.Sum256(content)
	return max(binary.BigEndian.Uint64(sum[:]), 1), nil
}
