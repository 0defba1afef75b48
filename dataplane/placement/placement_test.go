// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// cluster draws members whose owned buckets are those of an earlier placement, or anything.
func cluster(t *rapid.T) []Member {
	ids := rapid.SliceOfNDistinct(rapid.Uint8Range(1, 32), 1, 32, rapid.ID).Draw(t, "ids")
	equal := rapid.Bool().Draw(t, "equal weights")
	members := make([]Member, len(ids))
	for i, id := range ids {
		members[i] = Member{ID: id, Weight: 50, Priority: rapid.Uint8Range(1, 32).Draw(t, "priority"), Eligible: true}
		if !equal {
			members[i].Weight = rapid.Uint32Range(0, 100).Draw(t, "weight")
			members[i].Eligible = rapid.IntRange(0, 9).Draw(t, "eligible") > 0
		}
		members[i].Owned = bucket.Map(rapid.Uint64Range(0, uint64(bucket.All)).Draw(t, "owned"))
	}
	return members
}

func slot(t *rapid.T) int { return rapid.IntRange(0, bucket.DefaultSlot-1).Draw(t, "slot") }

func TestMultipleIsAPartitionByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, members := slot(t), cluster(t)
		got := Place(s, Multiple, members)
		var sum, all uint64
		for i := range members {
			if members[i].Takes(s) {
				sum += uint64(members[i].Weight)
			}
		}
		for i, b := range got {
			if all&uint64(b) != 0 {
				t.Fatalf("buckets %x have two owners", all&uint64(b))
			}
			all |= uint64(b)
			if !members[i].Takes(s) {
				if b != 0 {
					t.Fatalf("host %d takes nothing and got %v", members[i].ID, b)
				}
				continue
			}
			if d := int64(b.Len())*int64(sum) - bucket.Count*int64(members[i].Weight); d <= -int64(sum) || d >= int64(sum) {
				t.Fatalf("host %d of weight %d/%d got %d buckets", members[i].ID, members[i].Weight, sum, b.Len())
			}
		}
		if sum > 0 && bucket.Map(all) != bucket.All {
			t.Fatalf("buckets %v have no owner", bucket.All.Minus(bucket.Map(all)))
		}
	})
}

// TestMovement: a bucket leaves an owner only if that has more than its quota.
func TestMovement(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, members := slot(t), cluster(t)
		var claimed bucket.Map
		for i := range members { // as after a commit: nobody else claims what a member owns
			members[i].Owned = members[i].Owned.Minus(claimed)
			claimed |= members[i].Owned
		}
		got, due := Place(s, Multiple, members), quotas(s, members)
		for i, m := range members {
			if kept, want := (got[i] & m.Owned).Len(), min(m.Owned.Len(), due[i]); kept != want {
				t.Fatalf("host %d kept %d of %d buckets with a quota of %d", m.ID, kept, m.Owned.Len(), due[i])
			}
		}
	})
}

// TestJoinAndLeave: with equal weights a leave moves only the leaver's buckets, a join only what the joiner gets.
func TestJoinAndLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := slot(t)
		ids := rapid.SliceOfNDistinct(rapid.Uint8Range(1, 32), 2, 32, rapid.ID).Draw(t, "ids")
		slices.Sort(ids)
		var members []Member
		for _, id := range ids {
			members = append(members, Member{ID: id, Weight: 50, Eligible: true})
			own(members, Place(s, Multiple, members))
			if joined := members[len(members)-1].Owned.Len(); len(members) > 1 &&
				joined > (bucket.Count+len(members)-1)/len(members) {
				t.Fatalf("joiner got %d buckets", joined)
			}
		}
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "leaver")
		rest := slices.Delete(slices.Clone(members), gone, gone+1)
		before := slices.Clone(rest)
		own(rest, Place(s, Multiple, rest))
		for i := range rest {
			if lost := before[i].Owned.Minus(rest[i].Owned); lost != 0 {
				t.Fatalf("host %d lost %v by the leave of host %d", rest[i].ID, lost, members[gone].ID)
			}
		}
		back := append(slices.Clone(rest), Member{ID: members[gone].ID, Weight: 50, Eligible: true})
		own(back, Place(s, Multiple, back))
		for i := range rest {
			if moved := back[i].Owned.Minus(rest[i].Owned); moved != 0 {
				t.Fatalf("host %d got %v by the join of host %d", rest[i].ID, moved, members[gone].ID)
			}
		}
	})
}

func own(members []Member, placed []bucket.Map) {
	for i := range members {
		members[i].Owned = placed[i]
	}
}

// TestOrderOfMembers: the order in which a host lists the members does not matter as long as nobody contests a bucket.
func TestOrderOfMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, members := slot(t), cluster(t)
		own(members, Place(s, Multiple, members))
		mode := rapid.SampledFrom([]Mode{Multiple, Single, Disabled}).Draw(t, "mode")
		byHost := func(m []Member) map[uint8]bucket.Map {
			out := map[uint8]bucket.Map{}
			for i, b := range Place(s, mode, m) {
				out[m[i].ID] = b
			}
			return out
		}
		shuffled := rapid.Permutation(members).Draw(t, "order")
		if diff := cmp.Diff(byHost(members), byHost(shuffled)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestSingle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, members := slot(t), cluster(t)
		best := -1
		for i, m := range members {
			if m.Takes(s) && (best < 0 || m.Priority < members[best].Priority ||
				m.Priority == members[best].Priority && m.ID < members[best].ID) {
				best = i
			}
		}
		for i, b := range Place(s, Single, members) {
			want := bucket.Map(0)
			if i == best {
				want = bucket.All
			}
			if b != want {
				t.Fatalf("host %d got %v", members[i].ID, b)
			}
		}
	})
}

func TestPlace(t *testing.T) {
	all, none := bucket.All, bucket.Map(0)
	host := func(id uint8, weight uint32) Member {
		return Member{ID: id, Weight: weight, Priority: id, Eligible: true}
	}
	for _, tc := range []struct {
		name    string
		slot    int
		mode    Mode
		members []Member
		want    []bucket.Map
	}{
		{"no members", 0, Multiple, nil, []bucket.Map{}},
		{"one", 0, Multiple, []Member{host(7, 1)}, []bucket.Map{all}},
		{"thirds", 0, Multiple, []Member{host(1, 30), host(2, 60)}, []bucket.Map{1<<20 - 1, all &^ (1<<20 - 1)}},
		{"all weights 0", 0, Multiple, []Member{host(1, 0), host(2, 0)}, []bucket.Map{none, none}},
		{"disabled", 0, Disabled, []Member{host(1, 1)}, []bucket.Map{none}},
		{"unused", 0, Unused, []Member{host(1, 1)}, []bucket.Map{none}},
		{"single by priority", 0, Single, []Member{{ID: 1, Weight: 1, Priority: 5, Eligible: true},
			{ID: 2, Weight: 1, Priority: 4, Eligible: true}}, []bucket.Map{none, all}},
		{"default host", bucket.DefaultSlot, Multiple, []Member{host(9, 1), host(3, 0), host(4, 5)},
			[]bucket.Map{none, all, none}},
		{"default host drained", bucket.DefaultSlot, Multiple, []Member{host(9, 1), {ID: 3}}, []bucket.Map{all, none}},
		{"default slot disabled", bucket.DefaultSlot, Disabled, []Member{host(9, 1)}, []bucket.Map{none}},
		{
			"takes from the top", 0, Multiple,
			[]Member{{ID: 1, Weight: 1, Eligible: true, Owned: all}, host(2, 1)},
			[]bucket.Map{1<<30 - 1, all &^ (1<<30 - 1)},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Place(tc.slot, tc.mode, tc.members)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestOddBucketsRotate: seven hosts of equal weight have four odd buckets; over the slots every host gets its share of
// them.
func TestOddBucketsRotate(t *testing.T) {
	members := make([]Member, 7)
	for i := range members {
		members[i] = Member{ID: uint8(i + 1), Weight: 50, Eligible: true}
	}
	odd := make([]int, len(members))
	for s := range members {
		for i, q := range quotas(s, members) {
			odd[i] += q - bucket.Count/len(members)
		}
	}
	if diff := cmp.Diff([]int{4, 4, 4, 4, 4, 4, 4}, odd); diff != "" {
		t.Errorf("odd buckets over 7 slots (-want +got):\n%s", diff)
	}
}

func BenchmarkPlace32(b *testing.B) {
	members := make([]Member, 32)
	for i := range members {
		members[i] = Member{ID: uint8(i + 1), Weight: 50, Eligible: true}
	}
	own(members, Place(0, Multiple, members))
	for b.Loop() {
		Place(0, Multiple, members)
	}
}
