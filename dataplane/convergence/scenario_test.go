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

// disconnect cuts what a host sends, what it receives, or both.
func (s *simulation) disconnect(h *simHost, sends, receives bool) {
	for _, o := range s.hosts {
		if o != h {
			s.cut[h.index][o.index], s.cut[o.index][h.index] = boolToInt(sends), boolToInt(receives)
		}
	}
}

// untilEpoch runs until all given hosts are at another epoch than before, and returns how long that took.
func (s *simulation) untilEpoch(t *testing.T, before uint32, limit time.Duration, hosts ...*simHost) time.Duration {
	t.Helper()
	start := s.now
	for s.now < start+limit {
		s.run(s.now + 20*time.Microsecond)
		done := true
		for _, h := range hosts {
			done = done && h.view.Epoch != before && h.view.State == StateConverged
		}
		if done {
			s.noFailure(t)
			return s.now - start
		}
	}
	for _, h := range hosts {
		t.Errorf("host %d is %v at epoch %d", h.id, h.view.State, h.view.Epoch)
	}
	t.FailNow()
	return 0
}

func (s *simulation) own(slot int) []bucket.Map {
	var out []bucket.Map
	for _, h := range s.hosts {
		out = append(out, h.filter.Accept[slot])
	}
	return out
}

// Q228942: a starting host always lists itself, and converges as default host when it is alone.
func TestQ228942LoneHostListsItself(t *testing.T) {
	s := newSimulation(1, 1)
	h := s.hosts[0]
	s.start(h)
	if h.view.State != StateConverging || h.view.Members != heartbeat.SetOf(1) {
		t.Errorf("at start: %v with %s", h.view.State, list(h.view.Members))
	}
	s.run(s.timeout() - s.period/2)
	if h.view.State != StateConverging || h.filter.LeaseUntil != 0 {
		t.Errorf("before it listened for a timeout: %v, lease %v", h.view.State, h.filter.LeaseUntil)
	}
	s.run(s.timeout() + s.period)
	if h.view.State != StateConverged || h.view.Default != 1 || h.filter.Accept[0] != bucket.All {
		t.Errorf("alone: %v, default host %d, accepts %v", h.view.State, h.view.Default, h.filter.Accept[0])
	}
	s.noFailure(t)
}

// Hosts that find each other do not wait for a timeout.
func TestStartTogether(t *testing.T) {
	s := newSimulation(3, 3)
	for _, h := range s.hosts {
		s.start(h)
	}
	s.run(2 * s.period)
	s.checkSettled()
	s.noFailure(t)
}

// S3: a join moves only what the joiner is due, and takes round trips.
func TestJoin(t *testing.T) {
	s := cluster(t, 4)
	last := s.hosts[3]
	s.stop(last, true)
	s.settleBut(t, last)
	before := s.own(0)
	s.start(last)
	if d := s.untilEpoch(t, s.hosts[0].view.Epoch, s.timeout(), s.hosts...); d > 20*time.Millisecond {
		t.Errorf("took %v", d)
	}
	for i, b := range s.own(0)[:3] {
		if b.Minus(before[i]) != 0 || b.Len() != 15 {
			t.Errorf("host %d has %v after %v", i+1, b, before[i])
		}
	}
	if c := s.hosts[0].view.Cause; c != CauseNewMember {
		t.Errorf("cause %v", c)
	}
}

// A joiner with the lowest ID leads at once, but it hears all members before it proposes: none has to make way for it.
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

// settleBut waits until a host is lost and the others have converged without it.
func (s *simulation) settleBut(t *testing.T, gone *simHost) {
	t.Helper()
	s.run(s.now + 2*s.timeout())
	for _, h := range s.hosts {
		if h != gone && (h.view.State != StateConverged || h.view.Committed.Has(gone.id)) {
			t.Fatalf("host %d is %v with %s", h.id, h.view.State, list(h.view.Committed))
		}
	}
	s.noFailure(t)
}

// A crash is noticed after the timeout, and what follows takes round trips; only the lost host's buckets move.
func TestCrash(t *testing.T) {
	for _, id := range []int{1, 3} { // the leader and another
		s := cluster(t, 4)
		gone := s.hosts[id-1]
		before := s.own(0)
		s.stop(gone, true)
		var rest []*simHost
		for _, h := range s.hosts {
			if h != gone {
				rest = append(rest, h)
			}
		}
		if d := s.untilEpoch(t, rest[0].view.Epoch, 2*s.timeout(), rest...); d > s.timeout()+20*time.Millisecond {
			t.Errorf("took %v", d)
		}
		for _, h := range rest {
			if lost := before[h.index].Minus(h.filter.Accept[0]); lost != 0 || h.filter.Accept[0].Len() != 20 {
				t.Errorf("host %d lost %v, has %v", h.id, lost, h.filter.Accept[0])
			}
			if h.view.Cause != CauseMemberLost || h.view.Default != rest[0].id {
				t.Errorf("host %d: cause %v, default host %d", h.id, h.view.Cause, h.view.Default)
			}
		}
	}
}

// A graceful leave is over in round trips, and the leaver serves until the others are about to take over.
func TestLeave(t *testing.T) {
	for _, events := range [][]Event{{Leave{}}, {AdminStateChanged{State: Stopped}}, {AdminStateChanged{State: Suspended}}} {
		s := cluster(t, 3)
		h := s.hosts[1]
		s.step(h, events...)
		if h.left || h.filter.Accept[0] == 0 {
			t.Errorf("%T: serves no longer before others know", events[0])
		}
		d := s.untilEpoch(t, s.hosts[0].view.Epoch, s.timeout(), s.hosts[0], s.hosts[2])
		s.run(s.now + 5*time.Millisecond)
		if d > 20*time.Millisecond || !h.left || h.filter.LeaseUntil != 0 {
			t.Errorf("%T: took %v, left %v, lease %v", events[0], d, h.left, h.filter.LeaseUntil)
		}
		if c := s.hosts[0].view.Cause; c != CauseMemberLeft {
			t.Errorf("%T: cause %v", events[0], c)
		}
		s.run(s.now + 3*s.timeout())
		frames := s.frames
		s.run(s.now + 10*s.period)
		if sent := s.frames - frames; sent > 22 {
			t.Errorf("%T: a stopped host sends on, %d heartbeats in ten periods", events[0], sent)
		}
		s.noFailure(t)
	}
}

// The last host has nobody to hand over to.
func TestLeaveAlone(t *testing.T) {
	s := cluster(t, 1)
	s.step(s.hosts[0], Leave{})
	if !s.hosts[0].left || s.hosts[0].filter.LeaseUntil != 0 {
		t.Errorf("left %v, lease %v", s.hosts[0].left, s.hosts[0].filter.LeaseUntil)
	}
}

// Q247712: the state printed is the one acted on, after every pair of changes.
func TestQ247712DesiredStates(t *testing.T) {
	states := map[AdminState]State{Stopped: StateStopped, Started: StateConverged, Drained: StateDraining, Suspended: StateSuspended}
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

// A host that nobody hears gives everything up as soon as its peers say so, and the peers take over.
func TestMuteHost(t *testing.T) {
	for _, n := range []int{2, 4} {
		s := cluster(t, n)
		mute := s.hosts[0]
		s.disconnect(mute, true, false)
		s.run(s.now + s.timeout() + s.period)
		if mute.view.State != StateExcluded || mute.filter.LeaseUntil != 0 || mute.view.Members != heartbeat.SetOf(1) {
			t.Errorf("of %d: mute host is %v with %s, lease %v", n, mute.view.State, list(mute.view.Members), mute.filter.LeaseUntil)
		}
		for _, h := range s.hosts[1:] {
			if h.view.State != StateConverged || h.view.Default != 2 {
				t.Errorf("of %d: host %d is %v", n, h.id, h.view.State)
			}
		}
		s.disconnect(mute, false, false)
		s.settle(t)
	}
}

// A host that hears nobody converges alone; the others, who hear each other, go on without it rather than yield to it.
func TestDeafHost(t *testing.T) {
	s := cluster(t, 4)
	deaf := s.hosts[0]
	s.disconnect(deaf, false, true)
	s.run(s.now + 3*s.timeout())
	for _, h := range s.hosts[1:] {
		if h.view.State != StateConverged || h.view.Committed != heartbeat.SetOf(2, 3, 4) {
			t.Errorf("host %d is %v with %s", h.id, h.view.State, list(h.view.Committed))
		}
	}
	s.disconnect(deaf, false, false)
	s.settle(t)
}

// Of two hosts with a one-way link only one serves.
func TestOneWayLinkOfTwo(t *testing.T) {
	for from := range 2 {
		s := cluster(t, 2)
		s.cut[from][1-from] = 1
		s.run(s.now + 3*s.timeout())
		if a, b := s.accepts(s.hosts[0], 1), s.accepts(s.hosts[1], 1); a&b != 0 || a|b != bucket.All {
			t.Errorf("host %d mute to the other: %v and %v accept", from+1, a, b)
		}
		s.cut[from][1-from] = 0
		s.settle(t)
	}
}

// Of two hosts that do not hear each other but share a peer, one stands back.
func TestLinkBetweenTwo(t *testing.T) {
	s := cluster(t, 3)
	s.cut[0][2], s.cut[2][0] = 1, 1
	s.run(s.now + 3*s.timeout())
	if h := s.hosts[2]; h.view.State != StateExcluded || h.filter.LeaseUntil != 0 {
		t.Errorf("host 3 is %v", h.view.State)
	}
	if a, b := s.accepts(s.hosts[0], 1), s.accepts(s.hosts[1], 1); a|b != bucket.All {
		t.Errorf("%v and %v accept", a, b)
	}
	s.cut[0][2], s.cut[2][0] = 0, 0
	s.settle(t)
}

// Q197863: each side of a partition has a default host; the merge is noticed and takes round trips.
func TestQ197863PartitionMerge(t *testing.T) {
	s := cluster(t, 4)
	for _, a := range s.hosts {
		for _, b := range s.hosts {
			s.cut[a.index][b.index] = boolToInt((a.id <= 2) != (b.id <= 2))
		}
	}
	s.run(s.now + 3*s.timeout())
	for i, want := range []uint8{1, 1, 3, 3} {
		if h := s.hosts[i]; h.view.State != StateConverged || h.view.Default != want {
			t.Fatalf("host %d is %v with default host %d", h.id, h.view.State, h.view.Default)
		}
	}
	var trace strings.Builder
	s.trace = &trace
	for i := range s.cut {
		clear(s.cut[i])
	}
	before := s.hosts[0].view.Epoch
	s.untilEpoch(t, before, 2*s.period, s.hosts...)
	if !strings.Contains(trace.String(), string(TransitionPartitionMerged)) {
		t.Error("nobody noticed the merge")
	}
	s.settle(t)
}

// Q193599: a host ID in use keeps a newcomer out, and both are named on every host.
func TestQ193599DuplicateHostID(t *testing.T) {
	s := newSimulation(9, 4)
	twin := s.hosts[3]
	twin.id = 2
	twin.twin, s.hosts[1].twin = true, true
	for _, h := range s.hosts {
		h.policy.Slots[1].Priority = h.id
	}
	for _, h := range s.hosts[:3] {
		s.start(h)
	}
	s.run(2 * s.timeout())
	epoch := s.hosts[0].view.Epoch
	s.start(twin)
	s.run(s.now + 5*s.timeout())
	s.noFailure(t)
	if twin.view.State != StateConverging || twin.filter.LeaseUntil != 0 {
		t.Errorf("the newcomer is %v", twin.view.State)
	}
	for _, h := range s.hosts {
		if h != twin && (h.view.Epoch != epoch || h.view.State != StateConverged) {
			t.Errorf("host %d is %v at epoch %d after %d", h.id, h.view.State, h.view.Epoch, epoch)
		}
		c := h.view.Conflicts
		if len(c) == 0 || c[0].Reason != CauseDuplicateHostID || c[0].Hosts != [2]uint8{2, 2} || c[0].Keys != [2]uint32{1001, 1003} {
			t.Errorf("host %d reports %+v", h.id, c)
		}
	}
	s.stop(s.hosts[1], true)
	s.run(s.now + 3*s.timeout())
	if twin.view.State != StateConverged || len(twin.view.Conflicts) != 0 {
		t.Errorf("after the other is gone the newcomer is %v with %+v", twin.view.State, twin.view.Conflicts)
	}
}

// Clusters whose primary virtual IPs are IPv6 have no address in their heartbeats' header, which is NLB's, and still do not mix.
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
			if h.view.State != StateConverged || h.view.Committed != heartbeat.SetOf(1, 2, 3) || len(h.view.Conflicts) != 0 || h.view.Convergences != 1 {
				t.Errorf("host %d (%d) is %v with %s after %d convergences, conflicts %v", h.id, h.key, h.view.State, list(h.view.Committed), h.view.Convergences, h.view.Conflicts)
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
		{nil, "host ID 2 is used by the host at 192.0.2.11 (key 000003e9) and by the host at 192.0.2.12 (key 000003ea), which stays out"},
		{[]Event{Named{a.key, "node-b"}, Named{twin.key, "node-c"}}, "host ID 2 is used by node-b (192.0.2.11) and by node-c (192.0.2.12), which stays out"},
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

// Q198496: a joiner with another number of rules is refused, and the others serve on without a gap; even if its ID is the lowest.
func TestQ198496JoinerWithOtherRules(t *testing.T) {
	for _, index := range []int{0, 2} {
		s := newSimulation(5, 3)
		joiner := s.hosts[index]
		for _, h := range s.hosts {
			h.policy.Slots[1].Priority = h.id
			if h != joiner {
				s.start(h)
			}
		}
		s.run(2 * s.timeout())
		s.setVersion(joiner, 2)
		s.start(joiner)
		for range 100 {
			s.run(s.now + s.period/10)
			var all bucket.Map
			for _, h := range s.hosts {
				all |= s.accepts(h, 1)
			}
			if all != bucket.All {
				t.Fatalf("at %v nobody accepts %v", s.now, bucket.All.Minus(all))
			}
		}
		for _, h := range s.hosts {
			want := StateConverged
			if h == joiner {
				want = StateConverging
			}
			if c := h.view.Conflicts; h.view.State != want || len(c) != 1+boolToInt(h == joiner) || c[0].Reason != CauseNumberOfRules || c[0].Hosts[1] != joiner.id {
				t.Errorf("host %d is %v with %+v", h.id, h.view.State, c)
			}
		}
		s.setVersion(joiner, 1)
		s.settle(t)
	}
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// A new config comes into force on all hosts by one commit, once all hold it.
func TestConfigChange(t *testing.T) {
	s := cluster(t, 3)
	for _, h := range s.hosts {
		before := h.view.Epoch
		s.setVersion(h, 2)
		s.run(s.now + 2*s.timeout())
		if h != s.hosts[2] && (h.view.Epoch != before || h.view.PolicyInForce != 1 || h.view.PolicyOffered != 2) {
			t.Errorf("host %d changed before all hold the config: %+v", h.id, h.view)
		}
	}
	s.settle(t)
	if v := s.hosts[0].view; v.PolicyInForce != 2 || v.Cause != CauseModifiedRules {
		t.Errorf("generation %d in force, cause %v", v.PolicyInForce, v.Cause)
	}
}

// A host's own weights take effect by a round.
func TestWeightChange(t *testing.T) {
	s := cluster(t, 2)
	h := s.hosts[1]
	h.policy.Slots[0].Weight = 100
	s.step(h, Offer{Policy: h.policy})
	s.untilEpoch(t, h.view.Epoch, s.period, s.hosts...)
	if got := h.filter.Accept[0].Len(); got != 40 || h.view.Cause != CauseModifiedParams {
		t.Errorf("%d buckets, cause %v", got, h.view.Cause)
	}
}

// Stalled hosts that ask for it are given nothing, but never half of the members.
func TestEvict(t *testing.T) {
	s := cluster(t, 4)
	for _, h := range s.hosts[:3] {
		s.step(h, Traffic{Evict: true, StallReason: 3})
	}
	s.run(s.now + s.timeout())
	none := 0
	for _, b := range s.own(0) {
		if b == 0 {
			none++
		}
	}
	if none != 1 {
		t.Errorf("%d of 4 hosts have nothing", none)
	}
	if got := s.hosts[3].view.Stalled[1]; got != 3 {
		t.Errorf("host 4 knows reason %d of host 1", got)
	}
	for _, h := range s.hosts {
		s.step(h, Traffic{})
	}
	s.settle(t)
}

// The agent restarts under a hold: nobody converges, and the filter accepts all the time.
func TestRestartUnderHold(t *testing.T) {
	s := cluster(t, 3)
	h, epoch := s.hosts[1], s.hosts[1].view.Epoch
	buckets := h.filter.Accept[0]
	s.restart(h, 4*s.timeout(), 3*s.timeout())
	for range 50 {
		s.run(s.now + s.timeout()/10)
		if got := s.accepts(h, 1); got != buckets {
			t.Fatalf("at %v the filter accepts %v of %v", s.now, got, buckets)
		}
	}
	for _, h := range s.hosts {
		if h.view.Epoch != epoch || h.view.State != StateConverged {
			t.Errorf("host %d is %v at epoch %d after %d", h.id, h.view.State, h.view.Epoch, epoch)
		}
	}
	s.noFailure(t)
}

// A hold that the agent does not come back from ends.
func TestHoldEnds(t *testing.T) {
	s := cluster(t, 3)
	s.restart(s.hosts[1], 4*s.timeout(), time.Hour)
	s.run(s.now + 6*s.timeout())
	if v := s.hosts[0].view; v.State != StateConverged || v.Committed != heartbeat.SetOf(1, 3) {
		t.Errorf("%v with %s", v.State, list(v.Committed))
	}
	s.noFailure(t)
}

// Buckets in which a live peer still tracks connections are busy, those that it calls idle are not, and none stays so when it is gone.
func TestBusy(t *testing.T) {
	s := cluster(t, 1)
	idle := bucket.Table{}
	for i := range idle {
		idle[i] = bucket.All.Minus(1 << 59)
	}
	s2 := newSimulation(2, 2)
	a, b := s2.hosts[0], s2.hosts[1]
	s2.start(a)
	s2.run(2 * s2.timeout())
	s2.start(b)
	s2.run(s2.now + s2.timeout())
	if b.filter.Busy[0] != b.filter.Accept[0] || b.filter.Accept[0].Len() != 30 {
		t.Errorf("before host 1 tells: busy %v of %v", b.filter.Busy[0], b.filter.Accept[0])
	}
	for i := range a.conns {
		a.conns[i] = a.filter.Accept[i] | 1<<59
	}
	s2.step(a, Idle{Table: idle})
	s2.run(s2.now + s2.timeout())
	if b.filter.Busy[0] != 1<<59 {
		t.Errorf("host 1 has connections in bucket 59 only: busy %v of %v", b.filter.Busy[0], b.filter.Accept[0])
	}
	s2.stop(a, true)
	s2.run(s2.now + 2*s2.timeout())
	if b.filter.Busy[0] != 0 || b.filter.Accept[0] != bucket.All {
		t.Errorf("host 1 is gone: busy %v", b.filter.Busy[0])
	}
	s2.noFailure(t)
	s.noFailure(t)
}

// A frozen agent's lease ends before its peers take over, and it starts anew when it thaws.
func TestFrozenAgent(t *testing.T) {
	s := cluster(t, 2)
	h := s.hosts[1]
	s.freeze(h, 3*s.timeout())
	for s.hosts[0].filter.Accept[0] != bucket.All {
		if s.run(s.now + time.Millisecond); s.now > time.Minute {
			t.Fatal("host 1 does not take over")
		}
	}
	if got := s.accepts(h, 1); got != 0 {
		t.Errorf("frozen host accepts %v when host 1 takes over", got)
	}
	s.settle(t)
}

// Heartbeats that cannot be sent renew no lease.
func TestUnsent(t *testing.T) {
	s := cluster(t, 2)
	h := s.hosts[1]
	h.deadTX = true
	s.run(s.now + s.timeout() - s.period/8)
	if got := s.accepts(h, 1); got != 0 || h.view.State == StateConverged {
		t.Errorf("accepts %v, is %v", got, h.view.State)
	}
	h.deadTX = false
	s.settle(t)
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
		if errA, errB := a.play(), b.play(); errA != nil || errB != nil || a.outcome != b.outcome || a.frames != b.frames {
			t.Errorf("seed %d: %x after %d heartbeats (%v), then %x after %d (%v)", seed, a.outcome, a.frames, errA, b.outcome, b.frames, errB)
		}
	}
}
