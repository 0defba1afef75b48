// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wlbsv1alpha1 "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestMain(m *testing.M) {
	Main()
	code := m.Run()
	_ = os.Remove(builtAgent())
	os.Exit(code)
}

func builtAgent() string {
	return filepath.Join(os.TempDir(), fmt.Sprintf("wlbs-agent-%d", os.Getpid()))
}

// need skips the test where the machine lacks something, and fails it where CI=true says that it must not.
func need(t testing.TB, ok bool, what string) {
	t.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s, and CI=true allows no skip", what)
	}
	t.Skipf("needs %s", what)
}

func needTool(t testing.TB, tool string) {
	t.Helper()
	_, err := exec.LookPath(tool)
	need(t, err == nil, tool)
}

// buildAgent builds the agent once for all tests of this process.
var buildAgent = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("KUBE_WLBS_BIN"); dir != "" {
		return filepath.Join(dir, "wlbs-agent"), nil
	}
	path := builtAgent()
	cmd := exec.Command("go", "build", "-o", path, "github.com/kube-wlbs/kube-wlbs/cmd/wlbs-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w: %s", err, out)
	}
	return path, nil
})

var rigs atomic.Int32

// newRig builds a rig without agents.
func newRig(t testing.TB, hosts int, change func(*wlbsv1alpha1.LoadBalancingCluster)) *Rig {
	t.Helper()
	need(t, os.Geteuid() == 0, "root, to make network namespaces")
	needTool(t, "tc")
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{
		Hosts: hosts, Dir: dir, Change: change,
		Prefix: fmt.Sprintf("t%x-%d", os.Getpid(), rigs.Add(1)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			r.logs(t)
		}
		if err := errors.Join(r.Close(), os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
	})
	return r
}

// startRig builds a rig with agents and waits until they have converged.
func startRig(t testing.TB, hosts int, change func(*wlbsv1alpha1.LoadBalancingCluster)) *Rig {
	t.Helper()
	r := newRig(t, hosts, change)
	r.useAgent(t)
	if err := r.StartAll(); err != nil {
		t.Fatal(err)
	}
	r.converged(t, r.Hosts...)
	return r
}

func (r *Rig) useAgent(t testing.TB) {
	t.Helper()
	agent, err := buildAgent()
	if err != nil {
		t.Fatal(err)
	}
	r.opts.Agent = agent
}

// logs prints the end of every agent's log.
func (r *Rig) logs(t testing.TB) {
	const tail = 3000
	for _, h := range r.Hosts {
		content, err := os.ReadFile(h.AgentLog())
		if err != nil {
			continue
		}
		t.Logf("log of %s:\n%s", h.Name, content[max(0, len(content)-tail):])
	}
}

func soon(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (r *Rig) converged(t testing.TB, hosts ...*Host) {
	t.Helper()
	if err := r.WaitConverged(soon(t, 20*time.Second), hosts...); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// none fails the test if an attempt found no answer, with a few of them.
func none(t testing.TB, failed []Attempt, of int) {
	t.Helper()
	if len(failed) == 0 {
		return
	}
	var some strings.Builder
	for _, a := range failed[:min(5, len(failed))] {
		fmt.Fprintf(&some, "\n%s port %d at %s: %s", a.Client, a.Port, a.Start.Format("05.000"), a.Error)
	}
	t.Errorf("%d of %d attempts failed:%s", len(failed), of, some.String())
}

func command(name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
