// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// cluster starts hosts 1..n and runs until they have converged.
func cluster(t *testing.T, n int) *simulation {
	t.Helper()
	s := newSimulation(uint64(n), n)
	if testing.Verbose() {
		s.trace = t.Output()
	}
	for _, h := range s.hosts {
		h.policy.Slots[1].Priority = h.id
		s.start(h)
	}
	s.settle(t)
	return s
}

// settle runs for some timeouts and checks that all are converged.
func (s *simulation) settle(t *testing.T) {
	t.Helper()
	s.run(s.now + 4*s.period*time.Duration(s.tolerance))
	s.checkSettled()
	s.noFailure(t)
}

func (s *simulation) noFailure(t *testing.T) {
	t.Helper()
	if s.failure != nil {
		t.Fatal(s.failure)
	}
}

// timeout is how long a host may be silent.
func (s *simulation) timeout() time.Duration { return s.period * time.Duration(s.tolerance) }

// A joiner with the lowest ID leads at once, but it hears all members before it proposes: none has
// to make way for it.
func TestJoinAsLeader(t *testing.T) {
	for seed := range uint64(100) {
		s := newSimulation(seed, 4)
		s.maxDelay = 20 * time.Millisecond
		for _, h := range s.hosts[1:] {
			s.start(h)
		}
		s.run(2 * s.timeout())
		var trace strings.Builder
		s.trace = &trace
		s.start(s.hosts[0])
		s.settle(t)
		if strings.Contains(trace.String(), string(TransitionExcluded)) {
			t.Fatalf("seed %d: a member was excluded:\n%s", seed, trace.String())
		}
	}
}

// Q247712: the state printed is the one acted on, after every pair of changes.
func TestQ247712DesiredStates(t *testing.T) {
	states := map[AdminState]State{
		Stopped: StateStopped, Started: StateConverged, Drained: StateDraining, Suspended: StateSuspended,
	}
	for first := range states {
		for second, want := range states {
			s := cluster(t, 2)
			h := s.hosts[1]
			for _, d := range []AdminState{first, second} {
				h.admin = d
				s.step(h, AdminStateChanged{State: d})
				s.run(s.now + 3*s.timeout())
			}
			takes := h.filter.LeaseUntil != 0 && h.filter.Accept[0] != 0
			if h.view.State != want || takes != (second == Started) {
				t.Errorf("%v, then %v: %v, takes connections %v", states[first], want, h.view.State, takes)
			}
			s.checkSettled()
			s.noFailure(t)
		}
	}
}

// Clusters whose primary virtual IPs are IPv6 have no address in their heartbeats' header, which is
// NLB's, and still do not mix.
func TestIPv6ClustersOnOneWire(t *testing.T) {
	s := newSimulation(11, 6)
	for i, h := range s.hosts {
		h.id, h.clusterIP, h.clusterKey = uint8(1+i%3), [4]byte{}, uint32(70+i/3)
		h.policy.Slots[1].Priority = h.id
		s.start(h)
	}
	s.run(4 * s.timeout())
	s.noFailure(t)
	for _, of := range [][]*simHost{s.hosts[:3], s.hosts[3:]} {
		var all bucket.Map
		for _, h := range of {
			apart := h.view.Committed == heartbeat.SetOf(1, 2, 3) && len(h.view.Conflicts) == 0
			if h.view.State != StateConverged || !apart || h.view.Convergences != 1 {
				t.Errorf("host %d (%d) is %v with %s after %d convergences, conflicts %v",
					h.id, h.key, h.view.State, list(h.view.Committed), h.view.Convergences, h.view.Conflicts)
			}
			for _, o := range of {
				if h.view.Keys[o.id] != o.key {
					t.Errorf("host %d (%d) takes host %d for %d", h.id, h.key, o.id, h.view.Keys[o.id])
				}
			}
			if own := s.accepts(h, 1); own&all != 0 || own.Len() != 20 {
				t.Errorf("host %d (%d) has buckets %v beside %v", h.id, h.key, own, all)
			}
			all |= s.accepts(h, 1)
		}
	}
}

// Hosts in conflict are named as soon as they said their names, and that is no new conflict.
func TestConflictsNameHosts(t *testing.T) {
	s := newSimulation(9, 3)
	a, twin := s.hosts[1], s.hosts[2]
	twin.id, twin.twin, a.twin = a.id, true, true
	for _, h := range s.hosts[:2] {
		h.policy.Slots[1].Priority = h.id
		s.start(h)
	}
	s.run(2 * s.timeout())
	s.start(twin)
	s.run(s.now + s.timeout())
	witness := s.hosts[0]
	for _, step := range []struct {
		events []Event
		want   string
	}{
		{
			nil,
			"host ID 2 is used by the host at 192.0.2.11 (key 000003e9) and by " +
				"the host at 192.0.2.12 (key 000003ea), which stays out",
		},
		{
			[]Event{Named{a.key, "node-b"}, Named{twin.key, "node-c"}},
			"host ID 2 is used by node-b (192.0.2.11) and by node-c (192.0.2.12), which stays out",
		},
	} {
		out := witness.m.Step(witness.local(s.now), append(step.events, Tick{})...)
		if c := out.View.Conflicts; len(c) != 1 || c[0].Message != step.want || len(out.Transitions) != 0 {
			t.Errorf("conflicts %+v, transitions %v, want %q", c, out.Transitions, step.want)
		}
	}
	for key := range uint32(10 * maxNames) {
		witness.m.Step(witness.local(s.now), Named{5000 + key, "noise"})
	}
	if n := len(witness.m.names); n > maxNames || witness.m.names[a.key] != "node-b" {
		t.Errorf("%d names, host 2 is %q", n, witness.m.names[a.key])
	}
}

// KB829701, Q247719: two hosts that only lose their link now and then do not flood it.
func TestHeartbeatRate(t *testing.T) {
	s := cluster(t, 8)
	s.loss = 0.5
	frames, start := s.frames, s.now
	s.run(s.now + 50*s.timeout())
	perPeriod := float64(s.frames-frames) / float64((s.now-start)/s.period) / float64(len(s.hosts))
	if perPeriod > pacerRefill+2 {
		t.Errorf("%.1f heartbeats per host and period", perPeriod)
	}
	s.noFailure(t)
}

// S6: equal inputs give equal outputs.
func TestDeterminism(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		a, b := history(seed, noRule), history(seed, noRule)
		errA, errB := a.play(), b.play()
		if errA != nil || errB != nil || a.outcome != b.outcome || a.frames != b.frames {
			t.Errorf("seed %d: %x after %d heartbeats (%v), then %x after %d (%v)",
				seed, a.outcome, a.frames, errA, b.outcome, b.frames, errB)
		}
	}
}

// A member that announced a restart comes back without its memory, in another group, and hears its
// peers again while they still count on it: their round has its name, and it never agreed to that.
func TestMemberForgotItsGroup(t *testing.T) {
	s := cluster(t, 4)
	one, two, three, four := s.hosts[0], s.hosts[1], s.hosts[2], s.hosts[3]
	s.step(two, Leave{})
	s.run(s.now + s.timeout())
	s.step(four, Hold{Duration: 6 * s.timeout()})
	s.run(s.now + s.period)
	s.stop(two, true)
	s.stop(four, true)
	for _, a := range []*simHost{one, three} {
		for _, b := range []*simHost{two, four} {
			s.cut[a.index][b.index], s.cut[b.index][a.index] = 1, 1
		}
	}
	s.start(two)
	s.start(four)
	s.run(s.now + 3*s.timeout())
	if four.view.State != StateConverged || four.view.Default != 2 || !three.view.Committed.Has(4) {
		t.Fatalf("host 4 is %v under %d, host 3 serves with %s",
			four.view.State, four.view.Default, list(three.view.Committed))
	}
	four.m.promise = heartbeat.Round{Number: 99, Leader: 1} // as it would be for somebody who leads both groups
	if !four.m.inOtherPartition(three.m.sent) || !three.m.inOtherPartition(four.m.sent) {
		t.Errorf("host 4 sees another partition: %t, host 3: %t",
			four.m.inOtherPartition(three.m.sent), three.m.inOtherPartition(four.m.sent))
	}
}
