// SPDX-License-Identifier: Apache-2.0

package placement

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Every host places for itself, so hosts of different versions must come to the same result: see docs/design/wire.md.
func TestGoldenPlacement(t *testing.T) {
	members := func() []Member {
		return []Member{
			{ID: 1, Weight: 50, Priority: 33, Eligible: true, Owned: bucket.All},
			{ID: 2, Weight: 30, Priority: 32, Eligible: true},
			{ID: 3, Weight: 20, Priority: 5, Eligible: false},
			{ID: 7, Weight: 20, Priority: 34, Eligible: true},
		}
	}
	for name, test := range map[string]struct {
		slot int
		mode Mode
		want []string
	}{
		"Multiple": {0, Multiple, []string{"00000003fffffff", "000ffffc0000000", "000000000000000",
			"fff000000000000"}},
		"Single": {1, Single, []string{"000000000000000", "fffffffffffffff", "000000000000000", "000000000000000"}},
		"Disabled": {2, Disabled, []string{"000000000000000", "000000000000000", "000000000000000",
			"000000000000000"}},
		"the default slot": {bucket.DefaultSlot, Multiple,
			[]string{"fffffffffffffff", "000000000000000", "000000000000000", "000000000000000"}},
	} {
		var got []string
		for _, b := range Place(test.slot, test.mode, members()) {
			got = append(got, b.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Numbers in heartbeats.
func TestGoldenModes(t *testing.T) {
	var got []string
	for m := range Mode(4) {
		got = append(got, m.String())
	}
	if diff := cmp.Diff([]string{"Unused", "Multiple", "Single", "Disabled"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
