// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

const limit = 2 * time.Second

func table(slot int, m bucket.Map) bucket.Table {
	var t bucket.Table
	t[slot] = m
	return t
}

// A bucket that was gained is shut until the lists are known; one that was there before, or is of another slot, never.
func TestGateWaitsForLists(t *testing.T) {
	var g Gate
	g.Keep(table(3, 0b0001))
	given := table(3, 0b0011)
	given[4] = bucket.All
	want := given
	want[3] = 0b0001
	if out := g.Pass(given, []int{3}, false, 0, limit); out.Accept != want || !out.Waiting || out.Failed {
		t.Errorf("at the commit: %+v", out)
	}
	if out := g.Pass(given, []int{3}, false, time.Second, limit); out.Accept != want || !out.Waiting {
		t.Errorf("while lists lack: %+v", out)
	}
	if out := g.Pass(given, []int{3}, true, time.Second, limit); out.Accept != given || out.Waiting || out.Failed {
		t.Errorf("with all lists: %+v", out)
	}
	if out := g.Pass(given, []int{3}, false, time.Second, limit); out.Accept != given {
		t.Errorf("later, with a newer list under way: %+v", out)
	}
}

func TestGateOpensInTheEnd(t *testing.T) {
	var g Gate
	given := table(0, bucket.All)
	if out := g.Pass(given, []int{0}, false, time.Minute, limit); out.Accept != (bucket.Table{}) {
		t.Fatalf("%+v", out)
	}
	if g.Until(limit) != time.Minute+limit {
		t.Errorf("until %v", g.Until(limit))
	}
	if out := g.Pass(given, []int{0}, false, g.Until(limit), limit); out.Accept != given || !out.Failed || out.Waiting {
		t.Errorf("%+v", out)
	}
	if out := g.Pass(given, []int{0}, false, time.Hour, limit); out.Accept != given || out.Failed {
		t.Errorf("after that: %+v", out)
	}
}

// The gate opens nothing that convergence did not give, and what is lost and gained again is gained.
func TestGateNeverOpensMoreThanGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Gate
		known := bucket.Map(0) // buckets for which the lists were known since they were gained, or waited for
		before := bucket.Map(0)
		now := time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 900).Draw(t, "milliseconds")) * time.Millisecond
			given := bucket.Map(rapid.Uint64().Draw(t, "given")) & bucket.All
			synced := rapid.Bool().Draw(t, "synced")
			out := g.Pass(table(0, given), []int{0}, synced, now, limit)
			known &= given & before
			if synced || out.Failed {
				known = given
			}
			before = given
			if out.Accept[0] != known {
				t.Fatalf("open %s, want %s of %s", out.Accept[0], known, given)
			}
		}
	})
}
