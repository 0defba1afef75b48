// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// accepts returns what a host's filter accepts of a class of packets right now.
func (s *simulation) accepts(h *simHost, class uint64) bucket.Map {
	if !h.hasFilter || h.local(s.now) >= h.filter.LeaseUntil {
		return 0
	}
	return h.filter.Accept[slotOf(&h.filterRule, class)]
}

// resets returns the buckets of which h accepts packets of any connection although o, which did not
// leave and whose last word h has, may have some: h would answer those with a reset.
func (s *simulation) resets(h, o *simHost, class uint64) bucket.Map {
	r := h.heard[o.index]
	if o.m == nil || o.left || o.twin || h.filter.Policy != o.filter.Policy {
		return 0
	}
	if r.incarnation != o.incarnation || r.sequence != o.m.sequence {
		return 0
	}
	slot := slotOf(&h.filterRule, class)
	return (s.accepts(h, class) & o.conns[slot]).Minus(h.filter.Busy[slot])
}

// fenced reports whether o's agent is silent and its lease must have ended before h may take over
// from it: they heard each other, and h has the last heartbeat that o sent.
func (s *simulation) fenced(h, o *simHost) bool {
	if o.m != nil && !o.frozen {
		return false
	}
	r := h.heard[o.index]
	last := r.incarnation == o.incarnation && r.sequence == o.sent
	return r.ok && r.lists && last && h.listensTo(o) && s.hears(o, h, o.silentAt)
}

// hears reports whether a, at a given time, had a heartbeat of b within the timeout that lists a.
func (s *simulation) hears(a, b *simHost, now time.Duration) bool {
	r := a.heard[b.index]
	if !r.ok || !r.lists || now-r.at >= r.window-r.window/50 { // the hosts' clocks may run fast
		return false
	}
	return a.listensTo(b)
}

// check tests what must hold after every step of a host.
func (s *simulation) check(h *simHost, out *Output) {
	if !out.View.Members.Has(h.id) {
		s.fail("S4: host %d does not list itself: %s", h.id, list(out.View.Members))
	}
	if out.DecisionChanged {
		s.outcome = s.outcome.add(uint64(h.id)).add(uint64(s.now)).add(uint64(out.Decision.Epoch))
		for i := range out.Decision.Accept {
			s.outcome = s.outcome.add(uint64(out.Decision.Accept[i]))
		}
	}
	if out.Send != nil {
		for i, idle := range out.Send.Idle {
			if lost := idle & h.conns[i]; lost != 0 {
				s.fail(
					"S7: host %d (%d) calls buckets %v of slot %d idle, in which it may have "+
						"connections",
					h.id, h.key, lost, i)
			}
		}
	}
	if h.filter.LeaseUntil == 0 {
		return
	}
	for _, o := range s.hosts {
		mutual := s.hears(h, o, s.now) && s.hears(o, h, s.now)
		if o == h || !mutual && !s.fenced(h, o) {
			continue
		}
		for _, class := range packetClasses {
			a := s.accepts(h, class)
			if a == 0 {
				continue
			}
			if lost := s.resets(h, o, class); mutual && lost != 0 {
				s.fail(
					"S7: host %d (%d) takes buckets %v of packets of class %d for its own alone, host %d "+
						"(%d) may have connections in them",
					h.id, h.key, lost, class, o.id, o.key)
			}
			if b := s.accepts(o, class); a&b != 0 {
				s.fail(
					"S1: hosts %d (%d) and %d (%d) hear each other and both accept buckets %v of packets "+
						"of class %d",
					h.id, h.key, o.id, o.key, a&b, class)
			}
		}
	}
}

// listensTo reports whether h does not ignore o: of two hosts with one ID, it listens to one.
func (h *simHost) listensTo(o *simHost) bool {
	if !o.twin || h.m == nil || h.id == o.id {
		return true
	}
	msg := h.m.peers[o.id].msg
	return msg != nil && msg.HostKey == o.key
}

func (s *simulation) fail(format string, args ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf("at %v: %s", s.now, fmt.Sprintf(format, args...))
		s.log("FAILURE %v", s.failure)
	}
}

// checkSettled tests what must hold once the network and the hosts stand still and are all connected.
func (s *simulation) checkSettled() {
	members := s.expectedMembers()
	if len(members) == 0 {
		return
	}
	var want heartbeat.Set
	for _, h := range members {
		want = want.With(h.id)
	}
	for _, h := range members {
		if h.view.State != StateConverged && h.view.State != StateDraining {
			s.fail("S2: host %d is %v", h.id, h.view.State)
		}
		if h.view.Epoch != members[0].view.Epoch || h.view.Committed != want || h.view.Members&want != want {
			s.fail("S2: host %d is at epoch %d with %s of %s and committed %s, host %d at epoch %d",
				h.id, h.view.Epoch, list(h.view.Members), list(want), list(h.view.Committed),
				members[0].id, members[0].view.Epoch)
		}
		if h.filter.Policy != h.policy.Digest {
			s.fail("S2: host %d filters by policy %x and not by %x", h.id, h.filter.Policy, h.policy.Digest)
		}
	}
	for _, slot := range []int{0, 1, 2, bucket.DefaultSlot} {
		s.checkSlot(slot, members)
	}
}

// expectedMembers returns the hosts that should be members, and checks that of hosts with one ID,
// or with one handling priority, all but one stay out.
func (s *simulation) expectedMembers() []*simHost {
	var members, clashing []*simHost
	owner, first := map[uint8]*simHost{}, map[uint8]*simHost{}
	for _, h := range s.hosts {
		if h.m == nil || h.admin != Started && h.admin != Drained {
			continue
		}
		if h.twin && h.m.dispute == disputeHostID {
			if h.filter.Accept != (bucket.Table{}) || h.view.State != StateConverging {
				s.fail("host %d (key %d) contends for its ID and is %v", h.id, h.key, h.view.State)
			}
			continue
		}
		if h.m.dispute == disputePriority {
			clashing = append(clashing, h)
			continue
		}
		if o := owner[h.id]; o != nil {
			s.fail("hosts with keys %d and %d both use ID %d", o.key, h.key, h.id)
		}
		priority := h.policy.Slots[1].Priority
		if o := first[priority]; o != nil {
			s.fail("hosts %d and %d both have handling priority %d", o.id, h.id, priority)
		}
		owner[h.id], first[priority] = h, h
		members = append(members, h)
	}
	for _, h := range clashing {
		o := first[h.policy.Slots[1].Priority]
		named := func(c Conflict) bool {
			return o != nil && c.Reason == CauseBadConfig && c.Hosts == [2]uint8{o.id, h.id}
		}
		out := h.filter.Accept == (bucket.Table{}) && h.view.State == StateConverging
		if !out || !slices.ContainsFunc(h.view.Conflicts, named) {
			s.fail("host %d has the handling priority of %+v, is %v and accepts %v: %v",
				h.id, o, h.view.State, h.filter.Accept[0], h.view.Conflicts)
		}
	}
	return members
}

// checkSlot tests that a slot is placed completely, once, and by weight.
func (s *simulation) checkSlot(slot int, members []*simHost) {
	mode := members[0].policy.Slots[slot].Mode
	if mode == placement.Unused {
		return
	}
	var sum, seen uint64
	takes := func(h *simHost) bool {
		own := &h.policy.Slots[slot]
		return h.admin == Started && own.State == heartbeat.Enabled && (own.Weight > 0 || slot == bucket.DefaultSlot)
	}
	for _, h := range members {
		if takes(h) {
			sum += uint64(h.policy.Slots[slot].Weight)
			seen++
		}
	}
	var all bucket.Map
	for _, h := range members {
		own := h.filter.Accept[slot]
		if h.local(s.now) >= h.filter.LeaseUntil {
			s.fail("S2: the lease of host %d ended", h.id)
		}
		if own&all != 0 {
			s.fail("S2: buckets %v of slot %d have two owners", own&all, slot)
		}
		all |= own
		if !takes(h) && own != 0 {
			s.fail("S2: host %d takes no connections and owns %v of slot %d", h.id, own, slot)
		}
		if slot == bucket.DefaultSlot || mode != placement.Multiple || !takes(h) {
			continue
		}
		d := int64(own.Len())*int64(sum) - bucket.Count*int64(h.policy.Slots[slot].Weight)
		if d <= -int64(sum) || d >= int64(sum) {
			s.fail("S2: host %d has %d buckets of slot %d with weight %d of %d",
				h.id, own.Len(), slot, h.policy.Slots[slot].Weight, sum)
		}
	}
	if seen > 0 && all != bucket.All {
		s.fail("S2: buckets %v of slot %d have no owner", bucket.All.Minus(all), slot)
	}
}
