// SPDX-License-Identifier: Apache-2.0

package host

import (
	"strings"
	"testing"
)

func TestTableWatch(t *testing.T) {
	w := tableWatch{size: 100}
	for i, step := range []struct {
		connections int
		untracked   uint64
		full        bool
		message     string
	}{
		{50, 7, false, ""}, // counted before this agent started
		{99, 7, false, ""},
		{100, 7, true, "no connection was accepted untracked"},
		{100, 8, true, "at least 1 new connections"},
		{100, 16, true, "at least 1 new connections"},
		{100, 17, true, "at least 10 new connections"},
		{100, 1234, true, "at least 1000 new connections"},
		{91, 1234, true, "at least 1000 new connections"}, // hysteresis
		{100, 1234, true, "at least 1000 new connections"},
		{90, 1235, true, "at least 1000 new connections"}, // room, but one found none just now
		{90, 1235, false, ""},
		{95, 1235, false, ""},
		{98, 1245, true, "at least 10 new connections"}, // full between two looks; counted from here
	} {
		before := w.full
		changed := w.observe(step.connections, step.untracked)
		if w.full != step.full || changed != (before != step.full) {
			t.Fatalf("step %d: full %v, changed %v, want full %v", i, w.full, changed, step.full)
		}
		if m := w.message(); step.full && (!strings.Contains(m, step.message) || !strings.Contains(m, "all 100 entries")) {
			t.Errorf("step %d: message %q, want %q", i, m, step.message)
		}
	}
}
