// SPDX-License-Identifier: Apache-2.0

package placement_test

import (
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// Two hosts have all buckets of a rule, and a third one joins with half of their weight: it gets what it is due, and
// nothing else moves.
func ExamplePlace() {
	const slot = 0
	members := []placement.Member{
		{ID: 1, Weight: 50, Eligible: true},
		{ID: 2, Weight: 50, Eligible: true},
	}
	owned := placement.Place(slot, placement.Multiple, members)
	for i := range members {
		members[i].Owned = owned[i]
	}
	members = append(members, placement.Member{ID: 3, Weight: 25, Eligible: true})
	after := placement.Place(slot, placement.Multiple, members)
	for i, m := range members {
		gained, lost := after[i].Minus(m.Owned), m.Owned.Minus(after[i])
		fmt.Printf("host %d: %d buckets, gained %d, lost %d\n", m.ID, after[i].Len(), gained.Len(), lost.Len())
	}
	// Output:
	// host 1: 24 buckets, gained 0, lost 6
	// host 2: 24 buckets, gained 0, lost 6
	// host 3: 12 buckets, gained 12, lost 0
}

// In mode Single the best handling priority has everything; the default slot goes to the lowest host ID.
func ExamplePlace_single() {
	members := []placement.Member{
		{ID: 1, Priority: 2, Weight: 50, Eligible: true},
		{ID: 2, Priority: 1, Weight: 50, Eligible: true},
	}
	for _, slot := range []int{0, bucket.DefaultSlot} {
		owned := placement.Place(slot, placement.Single, members)
		fmt.Printf("slot %d: %d and %d\n", slot, owned[0].Len(), owned[1].Len())
	}
	// Output:
	// slot 0: 0 and 60
	// slot 32: 60 and 0
}
