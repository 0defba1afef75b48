// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// ruleCounters turns the filter's counters by slot into counters by rule. A change of the rules may give a slot to
// another rule: what a rule has counted so far goes with its name.
type ruleCounters struct {
	names [bucket.Slots]string
	// carried is what each rule had counted when the rules last changed, and since the slots' counters at that moment.
	carried map[string]filter.SlotCounters
	since   [bucket.Slots]filter.SlotCounters
}

func (r *ruleCounters) report(inForce *plan.Plan, slots *[bucket.Slots]filter.SlotCounters) []v1alpha1.RuleTraffic {
	r.follow(inForce, slots)
	var report []v1alpha1.RuleTraffic
	for _, slot := range inForce.UsedSlots() {
		n := r.total(slot, slots)
		report = append(report, v1alpha1.RuleTraffic{
			Rule: inForce.SlotName(slot), Accepted: new(int64(n.Accepted)), Dropped: new(int64(n.Dropped)), Opened: new(int64(n.Opened)),
		})
	}
	return report
}

func (r *ruleCounters) follow(inForce *plan.Plan, slots *[bucket.Slots]filter.SlotCounters) {
	var names [bucket.Slots]string
	for _, slot := range inForce.UsedSlots() {
		names[slot] = inForce.SlotName(slot)
	}
	if names == r.names {
		return
	}
	if r.carried != nil { // the first time, all that the slots have counted is these rules'
		carried := map[string]filter.SlotCounters{}
		for slot, name := range &r.names {
			if name != "" {
				carried[name] = r.total(slot, slots)
			}
		}
		r.carried, r.since = carried, *slots
	} else {
		r.carried = map[string]filter.SlotCounters{}
	}
	r.names = names
}

func (r *ruleCounters) total(slot int, slots *[bucket.Slots]filter.SlotCounters) filter.SlotCounters {
	carried, since, now := r.carried[r.names[slot]], &r.since[slot], &slots[slot]
	return filter.SlotCounters{
		Accepted: carried.Accepted + now.Accepted - since.Accepted,
		Dropped:  carried.Dropped + now.Dropped - since.Dropped,
		Opened:   carried.Opened + now.Opened - since.Opened,
	}
}
