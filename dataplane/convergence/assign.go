// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// memberDigest returns what a host contributes to the inputs.
func (m *Machine) memberDigest(id uint8) *memberDigest {
	if id == m.s.HostID {
		return new(memberDigest).of(m.self)
	}
	return m.peers[id].digest.of(m.peers[id].msg)
}

// inputsOf digests all that the assignment for a view is computed from, and of that the members'
// parameters. ok is false while some of it is not known here.
func (m *Machine) inputsOf(view heartbeat.Set, policy uint64) (inputs, config uint64, ok bool) {
	in, cfg := digestSeed.add(policy).add(uint64(view)), digestSeed.add(policy)
	for id := range each(view) {
		msg := m.latest(id)
		if msg == nil || id != m.s.HostID && !m.live.Has(id) || advertisedDigest(msg) != policy {
			return 0, 0, false
		}
		d := m.memberDigest(id)
		in, cfg = in.add(d.inputs), cfg.add(d.config)
	}
	return uint64(in), uint64(cfg), true
}

// assignment is the outcome of a placement, as far as this host needs it.
type assignment struct {
	own          bucket.Table
	defaultOwner uint8
	digest       uint32
}

// assign places the buckets of every slot. All members of view come to the same result.
func (m *Machine) assign(view heartbeat.Set, policy *Policy) assignment {
	var a assignment
	var buffer [heartbeat.MaxHosts]*heartbeat.Message
	hosts := buffer[:0]
	for id := range each(view) {
		hosts = append(hosts, m.latest(id))
	}
	// Where two hosts claim a bucket, after a merge or while one is a commit behind, the newest
	// claim of a host that serves counts.
	slices.SortStableFunc(hosts, func(a, b *heartbeat.Message) int {
		return cmp.Or(cmp.Compare(b.Flags&heartbeat.Serving, a.Flags&heartbeat.Serving),
			cmp.Compare(b.Committed.Number, a.Committed.Number), cmp.Compare(a.HostID, b.HostID))
	})
	evicted := evicted(hosts)
	sum := digestSeed
	for slot := range bucket.Slots {
		mode := policy.Slots[slot].Mode
		if mode == placement.Unused || mode == placement.Disabled {
			continue
		}
		for i, b := range place(slot, mode, hosts, evicted) {
			sum = sum.add(uint64(b)).add(uint64(hosts[i].HostID))
			if hosts[i].HostID == m.s.HostID {
				a.own[slot] = b
			}
			if slot == bucket.DefaultSlot && b != 0 {
				a.defaultOwner = hosts[i].HostID
			}
		}
	}
	a.digest = uint32(sum ^ sum>>32)
	return a
}

// place is one slot's placement. Evicted hosts get nothing unless nobody else can take the slot.
func place(slot int, mode placement.Mode, hosts []*heartbeat.Message, evicted heartbeat.Set) []bucket.Map {
	var buffer [heartbeat.MaxHosts]placement.Member
	members := buffer[:len(hosts)]
	others := false
	for i, h := range hosts {
		members[i] = placement.Member{
			ID: h.HostID, Weight: h.Weights[slot], Priority: h.Rules[slot].Priority(), Owned: h.Current[slot],
			Eligible: h.Flags&heartbeat.Draining == 0 && h.Rules[slot].State() == heartbeat.Enabled,
		}
		others = others || members[i].Takes(slot) && !evicted.Has(h.HostID)
	}
	if others && evicted != 0 {
		for i := range members {
			members[i].Eligible = members[i].Eligible && !evicted.Has(members[i].ID)
		}
	}
	return placement.Place(slot, mode, members)
}

// evicted returns the hosts that asked for no buckets and get none: those with the lowest IDs, less
// than half of the members.
func evicted(hosts []*heartbeat.Message) heartbeat.Set {
	var asked heartbeat.Set
	for _, h := range hosts {
		if h.Flags&heartbeat.Evict != 0 {
			asked = asked.With(h.HostID)
		}
	}
	var granted heartbeat.Set
	left := (len(hosts) - 1) / 2
	for id := range each(asked) {
		if left > 0 {
			granted, left = granted.With(id), left-1
		}
	}
	return granted
}
