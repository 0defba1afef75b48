// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
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
func need(tb testing.TB, ok bool, what string) {
	tb.Helper()
	if ok {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatalf("needs %s, and CI=true allows no skip", what)
	}
	tb.Skipf("needs %s", what)
}

func needTool(tb testing.TB, tool string) {
	tb.Helper()
	_, err := exec.LookPath(tool)
	need(tb, err == nil, tool)
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
func newRig(tb testing.TB, hosts int, change func(*v1alpha1.LoadBalancingCluster)) *Rig {
	tb.Helper()
	return newRigOf(tb, Options{Hosts: hosts, Change: change})
}

// newRigOf does so with any options; directory and prefix are the test's.
func newRigOf(tb testing.TB, opts Options) *Rig {
	tb.Helper()
	need(tb, os.Geteuid() == 0, "root, to make network namespaces")
	needTool(tb, "tc")
	opts.Dir, opts.Prefix = tb.TempDir(), fmt.Sprintf("t%x-%d", os.Getpid(), rigs.Add(1))
	r, err := New(opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			r.logs(tb)
		}
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// startRig builds a rig with agents and waits until they have converged.
func startRig(tb testing.TB, hosts int, change func(*v1alpha1.LoadBalancingCluster)) *Rig {
	tb.Helper()
	r := newRig(tb, hosts, change)
	r.useAgent(tb)
	if err := r.StartAll(); err != nil {
		tb.Fatal(err)
	}
	r.converged(tb, r.Hosts...)
	return r
}

// captureStart does as startRig, and returns a capture that began before the agents did.
func captureStart(tb testing.TB, hosts int, change func(*v1alpha1.LoadBalancingCluster)) (*Rig, *Capture) {
	tb.Helper()
	r := newRig(tb, hosts, change)
	r.useAgent(tb)
	c, err := r.StartCapture()
	must(tb, err)
	must(tb, r.StartAll())
	r.converged(tb, r.Hosts...)
	return r, c
}

func (r *Rig) useAgent(tb testing.TB) {
	tb.Helper()
	agent, err := buildAgent()
	if err != nil {
		tb.Fatal(err)
	}
	r.opts.Agent = agent
}

// logs prints the end of every agent's log.
func (r *Rig) logs(tb testing.TB) {
	tb.Helper()
	const tail = 3000
	for _, h := range r.Hosts {
		content, err := os.ReadFile(h.AgentLog())
		if err != nil {
			continue
		}
		tb.Logf("log of %s:\n%s", h.Name, content[max(0, len(content)-tail):])
	}
}

func soon(tb testing.TB, d time.Duration) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	tb.Cleanup(cancel)
	return ctx
}

func (r *Rig) converged(tb testing.TB, hosts ...*Host) {
	tb.Helper()
	if err := r.WaitConverged(soon(tb, 20*time.Second), hosts...); err != nil {
		tb.Fatal(err)
	}
}

// letPass lets what runs go on for a while.
func letPass(tb testing.TB, d time.Duration) {
	tb.Helper()
	if !pause(tb.Context(), d) {
		tb.Fatal("the test was ended")
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// none fails the test if an attempt found no answer, with a few of them.
func none(tb testing.TB, failed []Attempt, of int) {
	tb.Helper()
	if len(failed) == 0 {
		return
	}
	var some strings.Builder
	for _, a := range failed[:min(5, len(failed))] {
		fmt.Fprintf(&some, "\n%s port %d at %s: %s", a.Client, a.Port, a.Start.Format("05.000"), a.Error)
	}
	tb.Errorf("%d of %d attempts failed:%s", len(failed), of, some.String())
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
