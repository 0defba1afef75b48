// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

func TestRuleCountersFollowTheRule(t *testing.T) {
	var slots [bucket.Slots]filter.SlotCounters
	count := func(slot int, n uint64) {
		slots[slot].Accepted += n
		slots[slot].Dropped += 2 * n
		slots[slot].Opened += 3 * n
	}
	var r ruleCounters
	check := func(what string, rules []string, want map[string]int64) {
		t.Helper()
		got := map[string]int64{}
		names := namesOf(&plan.Plan{SlotNames: rules})
		for slot, n := range r.report(names, &slots) {
			if names[slot] == "" {
				continue
			}
			got[names[slot]] = int64(n.Accepted)
			if n.Dropped != 2*n.Accepted || n.Opened != 3*n.Accepted {
				t.Errorf("%s: %s has %d accepted, %d dropped, %d opened", what, names[slot], n.Accepted, n.Dropped, n.Opened)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	count(0, 5)
	count(1, 7)
	count(bucket.DefaultSlot, 1)
	check("counted before the agent started", []string{"a", "b"}, map[string]int64{"a": 5, "b": 7, "default": 1})
	count(1, 3)
	check("b moves to slot 0", []string{"b", "c"}, map[string]int64{"b": 10, "c": 0, "default": 1})
	count(0, 2)
	count(1, 4)
	check("both count", []string{"b", "c"}, map[string]int64{"b": 12, "c": 4, "default": 1})
	check("a comes back", []string{"a", "b", "c"}, map[string]int64{"a": 0, "b": 12, "c": 4, "default": 1})
	count(2, 1)
	check("and all go on", []string{"a", "b", "c"}, map[string]int64{"a": 0, "b": 12, "c": 5, "default": 1})
}
