// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// startSource runs a source until the test ends and returns what it delivers.
func startSource(t *testing.T, s Source) <-chan []plan.Config {
	t.Helper()
	s.Node, s.Log = "node-c", slog.New(slog.NewTextHandler(t.Output(), nil))
	delivered, done := make(chan []plan.Config), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		done <- s.Run(ctx, func(c []plan.Config) {
			select {
			case delivered <- c:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return delivered
}

func receive(t *testing.T, delivered <-chan []plan.Config, what string) []plan.Config {
	t.Helper()
	select {
	case c := <-delivered:
		return c
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: nothing delivered", what)
		return nil
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSourceFollowsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	weight := func(n string) string {
		return strings.Replace(yamlOf("web", vips("10.77.0.100")), "{nodeName: node-c}", "{nodeName: node-c, rules: [{name: all, loadWeight: "+n+"}]}", 1)
	}
	writeFile(t, path, weight("30"))
	delivered := startSource(t, Source{File: path})
	if c := receive(t, delivered, "at first"); *c[0].Host.Spec.Rules[0].LoadWeight != 30 || c[0].Cluster.Generation != 1 {
		t.Errorf("first delivery: %+v", c)
	}
	writeFile(t, path, "not: [a cluster")
	if c := receive(t, delivered, "broken"); *c[0].Host.Spec.Rules[0].LoadWeight != 30 || c[0].Cluster.Generation != 1 || c[0].Refused == "" {
		t.Errorf("what was in force stays, and the host says why: %+v", c)
	}
	writeFile(t, path, weight("60"))
	if c := receive(t, delivered, "mended"); *c[0].Host.Spec.Rules[0].LoadWeight != 60 || c[0].Refused != "" {
		t.Errorf("a broken file must be passed over, then the next good one delivered: %+v", c[0].Host.Spec)
	}
}

func TestSourceFollowsADirectory(t *testing.T) {
	dir := t.TempDir()
	delivered := startSource(t, Source{Dir: dir})
	if c := receive(t, delivered, "empty"); len(c) != 0 {
		t.Errorf("an empty directory: %+v", c)
	}
	writeFile(t, filepath.Join(dir, "web.yaml"), yamlOf("web", vips("10.77.0.100")))
	c := receive(t, delivered, "one file")
	if len(c) != 1 || c[0].Cluster.Name != "web" || c[0].Host.Spec.HostID != 3 || c[0].Host.Name != "web.node-c" {
		t.Errorf("one file: %+v", c)
	}
}

func TestSourceWithoutAFile(t *testing.T) {
	s := Source{File: filepath.Join(t.TempDir(), "web.yaml"), Node: "node-c", Log: slog.New(slog.DiscardHandler)}
	if err := s.Run(t.Context(), func([]plan.Config) { t.Error("delivered") }); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}
