// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"log/slog"
	"os"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// FuzzStateFile: whatever is on the disk, an agent starts, and what it takes from there can be used.
func FuzzStateFile(f *testing.F) {
	good, err := json.Marshal(host.Saved{Config: testConfig("web"), Incarnation: 9})
	if err != nil {
		f.Fatal(err)
	}
	for _, content := range [][]byte{good, nil, []byte("{}"), []byte(`{"config":{"cluster":{},"host":{}}}`), good[:len(good)/2]} {
		f.Add(content)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		s := newStore(t.TempDir(), "web", slog.New(slog.DiscardHandler))
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.path(), content, 0o600); err != nil {
			t.Fatal(err)
		}
		saved := s.Load()
		if saved.Config.Removed() {
			return
		}
		if _, err := plan.New(saved.Config); err != nil {
			t.Errorf("a config that cannot be used: %v", err)
		}
	})
}
