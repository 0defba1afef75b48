// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// prioritize gives a host another handling priority in the Single rule, as a new config does.
func (s *simulation) prioritize(h *simHost, priority uint8) {
	h.policy.Slots[1].Priority = priority
	s.step(h, Offer{Policy: h.policy})
}

// watched runs for some timeouts and checks that the rules are served without a gap.
func (s *simulation) watched(t *testing.T) {
	t.Helper()
	for range 400 {
		s.run(s.now + s.period/20)
		for class, slot := range map[uint64]int{1: 0, 100: 1, 999: bucket.DefaultSlot} {
			var all bucket.Map
			for _, h := range s.hosts {
				all |= s.accepts(h, class)
			}
			if all != bucket.All {
				t.Fatalf("at %v nobody accepts %v of slot %d", s.now, bucket.All.Minus(all), slot)
			}
		}
	}
	s.noFailure(t)
}

// staysOut checks that the loser serves nothing, the others do, and everybody names both.
func (s *simulation) staysOut(t *testing.T, loser, first *simHost) {
	t.Helper()
	s.checkSettled()
	s.noFailure(t)
	for _, h := range s.hosts {
		c := h.view.Conflicts
		if len(c) != 1 || c[0].Reason != CauseBadConfig || c[0].Hosts != [2]uint8{first.id, loser.id} || c[0].Keys != [2]uint32{first.key, loser.key} ||
			!strings.Contains(c[0].Message, "failed to converge due to port rules with a duplicate single host priority") {
			t.Errorf("host %d reports %+v", h.id, c)
		}
		if h != loser && (h.view.State != StateConverged || h.view.Committed.Has(loser.id)) {
			t.Errorf("host %d is %v with %s", h.id, h.view.State, list(h.view.Committed))
		}
	}
	if loser.view.Cause != CauseBadConfig || loser.filter.LeaseUntil != 0 {
		t.Errorf("host %d converges for %v, lease %v", loser.id, loser.view.Cause, loser.filter.LeaseUntil)
	}
}

// Event 20: a newcomer with the handling priority of a member stays out, whatever its ID, until that is mended; the others serve
// on, and their epoch does not change.
func TestNewcomerWithDuplicatePriority(t *testing.T) {
	for _, index := range []int{0, 1, 2} {
		s := newSimulation(5, 3)
		newcomer, first := s.hosts[index], s.hosts[(index+1)%3]
		for _, h := range s.hosts {
			if h != newcomer {
				s.start(h)
			}
		}
		s.run(2 * s.timeout())
		before := s.own(0)
		newcomer.policy.Slots[1].Priority = first.policy.Slots[1].Priority
		s.start(newcomer)
		s.watched(t)
		s.staysOut(t, newcomer, first)
		for i, b := range s.own(0) {
			if b != before[i] {
				t.Errorf("host %d has buckets %v after %v", i+1, b, before[i])
			}
		}
		s.prioritize(newcomer, 40)
		s.watched(t)
		s.settle(t)
	}
}

// Of hosts that start together the one with the lowest ID serves, and not nobody.
func TestStartWithOnePriority(t *testing.T) {
	s := newSimulation(7, 4)
	for _, h := range s.hosts {
		h.policy.Slots[1].Priority = 3
		s.start(h)
	}
	s.run(2 * s.timeout())
	s.checkSettled()
	s.noFailure(t)
	if h := s.hosts[0]; h.view.State != StateConverged || h.view.Committed != heartbeat.SetOf(1) {
		t.Errorf("host 1 is %v with %s", h.view.State, list(h.view.Committed))
	}
}

// A change by which two members collide puts the one with the higher ID out, without a gap, and it returns when that is mended.
func TestPriorityChangeAmongMembers(t *testing.T) {
	for _, change := range []struct{ who, to int }{{1, 0}, {0, 1}, {2, 1}, {1, 2}, {0, 2}} {
		s := cluster(t, 3)
		h, other := s.hosts[change.who], s.hosts[change.to]
		before := h.policy.Slots[1].Priority
		s.prioritize(h, other.policy.Slots[1].Priority)
		s.watched(t)
		first, loser := h, other
		if first.id > loser.id {
			first, loser = loser, first
		}
		s.staysOut(t, loser, first)
		if c := first.view.Cause; c != CauseBadConfig && c != CauseModifiedParams {
			t.Errorf("host %d converged for %v", first.id, c)
		}
		s.prioritize(h, before)
		s.watched(t)
		s.settle(t)
	}
}

// The place of a host that leaves, or is lost, is free for one that stayed out.
func TestClashEndsWithTheOther(t *testing.T) {
	for name, end := range map[string]func(*simulation, *simHost){
		"leave": func(s *simulation, h *simHost) { h.admin = Stopped; s.step(h, AdminStateChanged{State: Stopped}) },
		"crash": func(s *simulation, h *simHost) { s.stop(h, true) },
	} {
		s := cluster(t, 3)
		first, loser := s.hosts[0], s.hosts[2]
		s.prioritize(loser, first.policy.Slots[1].Priority)
		s.run(s.now + s.timeout())
		s.staysOut(t, loser, first)
		end(s, first)
		s.run(s.now + 3*s.timeout())
		if v := loser.view; v.State != StateConverged || v.Committed != heartbeat.SetOf(2, 3) || len(v.Conflicts) != 0 {
			t.Errorf("%s: host 3 is %v with %s, conflicts %+v", name, v.State, list(v.Committed), v.Conflicts)
		}
		first.admin = Started
		if first.m == nil {
			s.start(first)
		} else {
			s.step(first, AdminStateChanged{State: Started})
		}
		s.watched(t)
		s.staysOut(t, first, loser) // who is there goes on
	}
}

// Groups that collide and meet: who stands back is settled by the merge first.
func TestMergeWithDuplicatePriority(t *testing.T) {
	s := cluster(t, 4)
	for _, a := range s.hosts {
		for _, b := range s.hosts {
			s.cut[a.index][b.index] = boolToInt((a.id == 1 || a.id == 4) != (b.id == 1 || b.id == 4))
		}
	}
	s.run(s.now + 3*s.timeout())
	s.prioritize(s.hosts[3], s.hosts[1].policy.Slots[1].Priority) // 1 and 4 serve, beside 2 and 3
	s.run(s.now + s.timeout())
	for i := range s.cut {
		clear(s.cut[i])
	}
	s.watched(t)
	s.staysOut(t, s.hosts[1], s.hosts[3])
}
