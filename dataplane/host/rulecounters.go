// SPDX-License-Identifier: Apache-2.0

package host

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

// slotNames are the names of the rules by slot, "" where there is none.
type slotNames [bucket.Slots]string

// ruleCounters turns the filter's counters by slot into counters by rule. A change of the rules may give a slot to
// another rule: what a rule has counted so far goes with its name.
type ruleCounters struct {
	names slotNames
	// carried is what each rule had counted when the rules last changed, and since the slots' counters at that moment.
	carried map[string]filter.SlotCounters
	since   [bucket.Slots]filter.SlotCounters
}

// report returns what each slot's rule has counted, given the rules in force and the counters of their slots.
func (r *ruleCounters) report(
	names slotNames, slots *[bucket.Slots]filter.SlotCounters,
) [bucket.Slots]filter.SlotCounters {
	r.follow(names, slots)
	var out [bucket.Slots]filter.SlotCounters
	for slot, name := range names {
		if name != "" {
			out[slot] = r.total(slot, slots)
		}
	}
	return out
}

func (r *ruleCounters) follow(names slotNames, slots *[bucket.Slots]filter.SlotCounters) {
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
