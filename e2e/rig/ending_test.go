// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// The same signal means two things: an agent that is restarted holds its place, so that nothing moves and no connection
// breaks; one whose machine shuts down leaves at once, although it was told to hold, and keeps its config for the next boot.
func TestRestartAndShutdown(t *testing.T) {
	bin := t.TempDir()
	systemctl := func(state string) {
		must(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\necho "+state+"\nexit 1\n"), 0o755))
	}
	systemctl("running")
	r := newRig(t, 3, nil)
	r.useAgent(t)
	r.opts.AgentFlags = []string{"--restart-hold", "30s"}
	r.opts.AgentEnv = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	must(t, r.StartAll())
	r.converged(t, r.Hosts...)
	h := r.Hosts[1]
	epoch := *h.becomes(t, v1alpha1.HostConverged).Status.Epoch
	run := probing(t, r)
	letPass(t, time.Second)
	must(t, h.Stop())
	letPass(t, time.Second)
	must(t, h.Start())
	r.converged(t, r.Hosts...)
	if now := *h.becomes(t, v1alpha1.HostConverged).Status.Epoch; now != epoch {
		t.Errorf("a restart made a convergence: epoch %d, before %d", now, epoch)
	}

	systemctl("stopping")
	begin := time.Now()
	must(t, h.Stop())
	t.Logf("the agent ended %v after it was told to", time.Since(begin).Round(time.Millisecond))
	r.converged(t, r.Hosts[0], r.Hosts[2])
	t.Logf("the others are converged after %v", time.Since(begin).Round(time.Millisecond))
	letPass(t, time.Second)
	report := stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
	if _, err := os.Stat(filepath.Join(h.StateDir(), ClusterName, "config.json")); err != nil {
		t.Errorf("the config for the next boot: %v", err)
	}
	if pins, err := files(h.Pins()); err != nil || len(pins) > 0 {
		t.Errorf("still pinned at %s: %v, %v", h.Pins(), pins, err)
	}
	must(t, h.Start())
	r.converged(t, r.Hosts...)
}
