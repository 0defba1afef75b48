// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// The last of two hosts takes over from a mute one only after that could hear of it.
func TestMuteHostOfTwoGivesUpFirst(t *testing.T) {
	for _, mute := range []int{0, 1} {
		s := cluster(t, 2)
		h, o := s.hosts[mute], s.hosts[1-mute]
		s.disconnect(h, true, false)
		for end := s.now + 2*s.timeout(); s.now < end; s.run(s.now + s.minDelay/2) {
			if twice := s.accepts(h, 1) & s.accepts(o, 1); twice != 0 {
				t.Fatalf("host %d is mute and accepts %v, and so does host %d", h.id, twice, o.id)
			}
		}
		if got := o.filter.Accept[0].Len(); got != 60 {
			t.Errorf("host %d has %d buckets in the end", o.id, got)
		}
	}
}

// A member that announced a restart comes back without its memory, in another group, and meets its peers again while they still
// count on it: their round has its name, and it never agreed to that.
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
		t.Fatalf("host 4 is %v under %d, host 3 serves with %s", four.view.State, four.view.Default, list(three.view.Committed))
	}
	four.m.promise = heartbeat.Round{Number: 99, Leader: 1} // as it would be for somebody who leads both groups
	if !four.m.inOtherPartition(three.m.sent) || !three.m.inOtherPartition(four.m.sent) {
		t.Errorf("host 4 sees a contradiction: %t, host 3: %t", four.m.inOtherPartition(three.m.sent), three.m.inOtherPartition(four.m.sent))
	}
}
