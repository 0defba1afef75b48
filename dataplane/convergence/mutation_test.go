// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// TestBrokenRulesAreNoticed breaks one rule of the protocol at a time and expects the histories to
// show it: a check that cannot fail proves nothing.
func TestBrokenRulesAreNoticed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		broken rule
		want   string
	}{
		{"no release before acquisition", ruleReleaseFirst, "S1"},
		{"no lease", ruleLease, "S1"},
		{"commit without acknowledgements", ruleAcknowledge, "S1"},
		{"no wait for hosts outside the view", ruleFenceOutsiders, "S1"},
		{"no yield to another group", ruleYield, "S1"},
		{"no mask", ruleMask, "S1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for seed := uint64(1); seed <= 2000; seed++ {
				s := history(seed, tc.broken)
				if err := s.play(); err != nil && strings.Contains(err.Error(), tc.want) {
					t.Logf("seed %d: %v", seed, err)
					s.replay(t)
					return
				}
			}
			t.Errorf("no history noticed")
		})
	}
}

// TestYieldIsToOneRound: that a host outside the view accepts nothing, or yielded to another round,
// does not do.
func TestYieldIsToOneRound(t *testing.T) {
	s := cluster(t, 2)
	a, b := s.hosts[0], s.hosts[1]
	b.policy = testPolicy(2)
	s.stop(b, true)
	s.start(b) // holds other rules now, so that host 1 converges without it
	s.run(s.now + 2*s.period)
	a.policy.Slots[0].Weight = 100
	s.step(a, Offer{Policy: a.policy}) // a round that host 2 hears
	s.run(s.now + s.period)
	yielded := *a.m.peers[2].msg
	if yielded.Flags&heartbeat.Yielded == 0 || a.view.Committed != heartbeat.SetOf(1) {
		t.Fatalf("host 2 did not yield: %010b", yielded.Flags)
	}
	for _, tc := range []struct {
		name   string
		change func(*heartbeat.Message)
		want   bool
	}{
		{"this round", func(*heartbeat.Message) {}, true},
		{"an earlier round", func(m *heartbeat.Message) { m.Round.Number-- }, false},
		{"a round of another leader", func(m *heartbeat.Message) { m.Round.Leader++ }, false},
		{"a round of another host with the leader's ID", func(m *heartbeat.Message) { m.RoundInputs++ }, false},
		{"none", func(m *heartbeat.Message) { m.Flags &^= heartbeat.Yielded }, false},
	} {
		msg := yielded
		tc.change(&msg)
		a.m.peers[2].msg = &msg
		a.m.pending, a.m.mutual = a.m.committed, heartbeat.SetOf(2)
		if got := a.m.outsidersYielded(); got != tc.want {
			t.Errorf("yielded to %s: %v", tc.name, got)
		}
	}
}
