// SPDX-License-Identifier: Apache-2.0

package convergence

import "testing"

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
