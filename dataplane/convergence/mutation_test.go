// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"strings"
	"testing"
)

// TestBrokenRulesAreNoticed breaks one rule of the protocol at a time and expects the histories to show it: a check that
// cannot fail proves nothing.
func TestBrokenRulesAreNoticed(t *testing.T) {
	for _, tc := range []struct {
		name  string
		knobs knobs
		want  string
	}{
		{"no release before acquisition", knobs{keepOnAck: true}, "S1"},
		{"no lease", knobs{endlessLease: true}, "S1"},
		{"commit without acknowledgements", knobs{commitUnacked: true}, "S1"},
		{"no wait for hosts outside the view", knobs{ignoreOutside: true}, "S1"},
		{"no yield to another group", knobs{neverYield: true}, "S1"},
		{"any yield will do", knobs{anyYield: true}, "S1"},
		{"no mask", knobs{noMask: true}, "S1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if testing.Short() && tc.knobs.anyYield {
				t.Skip("takes thousands of histories")
			}
			for seed := uint64(1); seed <= 10_000; seed++ {
				if err := history(seed, tc.knobs).play(); err != nil && strings.Contains(err.Error(), tc.want) {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Errorf("no history noticed")
		})
	}
}
