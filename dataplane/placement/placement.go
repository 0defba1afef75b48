// SPDX-License-Identifier: Apache-2.0

// Package placement assigns the 60 buckets of a slot to the members of a cluster.
//
// It is pure and deterministic: every member computes the assignment alone from what the heartbeats
// told it, and all must come to the same result.
package placement

import (
	"cmp"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Mode says how the members share a slot. The numeric values are part of the heartbeat.
type Mode uint8

// The modes of a slot.
const (
	// Unused marks a slot that no rule refers to: nobody gets a bucket.
	Unused Mode = iota
	// Multiple spreads the buckets over the members by weight.
	Multiple
	// Single gives all buckets to the member with the best handling priority.
	Single
	// Disabled gives the buckets to nobody: the rule's traffic is dropped everywhere.
	Disabled
)

// String returns the mode as the API spells it.
func (m Mode) String() string {
	switch m {
	case Multiple:
		return "Multiple"
	case Single:
		return "Single"
	case Disabled:
		return "Disabled"
	default:
		return "Unused"
	}
}

// Member is one host of the view, as far as one slot is concerned.
type Member struct {
	// ID is the host ID, 1..32, unique among the members.
	ID uint8
	// Weight is the host's share relative to the other members' weights; 0 gives nothing. The default
	// slot ignores it.
	Weight uint32
	// Priority is the place in a Single slot, the lowest first. Of hosts with equal ones all but one
	// leave the membership; until then the lower host ID goes first.
	Priority uint8
	// Eligible is false while the host is drained or the rule is disabled or drained on it.
	Eligible bool
	// Owned are the buckets the host has now. If two members claim a bucket, the first in the slice
	// has it.
	Owned bucket.Map
}

// Takes reports whether the member may get buckets of the slot at all.
func (m *Member) Takes(slot int) bool {
	return m.Eligible && (m.Weight > 0 || slot == bucket.DefaultSlot)
}

// Place returns the buckets of each member, in the order of members.
//
// In a Multiple slot each member has a quota by its weight. It keeps the buckets it has up to that,
// the lowest first; the others are given in ascending order to the members in order of their IDs. The
// default slot goes to the member with the lowest ID whatever the mode, unless it is Disabled or Unused.
func Place(slot int, mode Mode, members []Member) []bucket.Map {
	out := make([]bucket.Map, len(members))
	switch {
	case mode == Disabled || mode == Unused:
	case slot == bucket.DefaultSlot:
		giveAll(out, slot, members, func(a, b *Member) int { return cmp.Compare(a.ID, b.ID) })
	case mode == Single:
		giveAll(out, slot, members, func(a, b *Member) int {
			return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.ID, b.ID))
		})
	default:
		spread(out, slot, members)
	}
	return out
}

// giveAll gives every bucket to the first eligible member in the given order.
func giveAll(out []bucket.Map, slot int, members []Member, order func(a, b *Member) int) {
	best := -1
	for i := range members {
		if members[i].Takes(slot) && (best < 0 || order(&members[i], &members[best]) < 0) {
			best = i
		}
	}
	if best >= 0 {
		out[best] = bucket.All
	}
}

// spread places the buckets of a Multiple slot.
func spread(out []bucket.Map, slot int, members []Member) {
	due := quotas(slot, members)
	var taken bucket.Map
	for i := range members {
		keep := lowest((members[i].Owned & bucket.All).Minus(taken), due[i])
		out[i] = keep
		taken |= keep
	}
	free := bucket.All.Minus(taken)
	for _, i := range byID(members) {
		more := lowest(free, due[i]-out[i].Len())
		out[i] |= more
		free = free.Minus(more)
	}
}

// lowest returns the n lowest buckets of m, or m where it has fewer.
func lowest(m bucket.Map, n int) bucket.Map {
	if m.Len() <= n {
		return m
	}
	var out bucket.Map
	for ; n > 0; n-- {
		bit := m & -m
		out |= bit
		m &^= bit
	}
	return out
}

// byID returns the indices of members in ascending order of host ID.
func byID(members []Member) []int {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(members[a].ID, members[b].ID) })
	return order
}

// quotas returns how many buckets each member is due in a Multiple slot: its weighted share by largest
// remainder. Equal remainders go first to members that already have more than the whole part of their
// share, so that no bucket moves without need, then by host ID rotated by slot, so that the odd buckets
// of many rules do not all fall on one host.
func quotas(slot int, members []Member) []int {
	due := make([]int, len(members))
	var sum uint64
	order := make([]int, 0, len(members))
	for _, i := range byID(members) {
		if members[i].Takes(slot) {
			sum += uint64(members[i].Weight)
			order = append(order, i)
		}
	}
	if sum == 0 {
		return due
	}
	rest := bucket.Count
	remainder := make([]uint64, len(members))
	rank := make([]int, len(members))
	for k, i := range order {
		share := bucket.Count * uint64(members[i].Weight)
		due[i], remainder[i] = int(share/sum), share%sum
		rest -= due[i]
		rank[i] = ((k-slot)%len(order) + len(order)) % len(order)
	}
	holds := func(i int) int {
		if members[i].Owned.Len() > due[i] {
			return 0
		}
		return 1
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(remainder[b], remainder[a]), cmp.Compare(holds(a), holds(b)), cmp.Compare(rank[a], rank[b]))
	})
	for _, i := range order[:rest] {
		due[i]++
	}
	return due
}
