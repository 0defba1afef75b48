// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
)

func TestDrainStopsWhenTheLastConnectionEnds(t *testing.T) {
	drained := &plan{desiredState: v1alpha1.HostStateDrained}
	var d drain
	d.set(drained, 10*time.Second)
	if got := d.desired(drained).State; got != convergence.Drained {
		t.Errorf("desired %v, want Drained", got)
	}
	steps := []struct {
		state       convergence.State
		connections int
		over        bool
	}{
		{convergence.StateConverged, 0, false}, // the buckets are not handed over yet
		{convergence.StateDraining, 2, false},
		{convergence.StateDraining, 0, true},
		{convergence.StateDraining, 0, false}, // said once
	}
	for i, s := range steps {
		if got := d.over(time.Hour, s.state, s.connections); got != s.over {
			t.Errorf("step %d: over = %v, want %v", i, got, s.over)
		}
	}
	d.set(drained, 20*time.Second) // a new config that changes something else
	if got := d.desired(drained).State; got != convergence.Stopped {
		t.Errorf("after the drain: desired %v, want Stopped", got)
	}
	started := &plan{desiredState: v1alpha1.HostStateStarted}
	d.set(started, 30*time.Second)
	if got := d.desired(started).State; got != convergence.Started {
		t.Errorf("after start: desired %v, want Started", got)
	}
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	drained := &plan{desiredState: v1alpha1.HostStateDrained, drainTimeout: 30 * time.Second}
	var d drain
	d.set(drained, 100*time.Second)
	d.set(drained, 120*time.Second) // another change does not prolong it
	if d.over(129*time.Second, convergence.StateDraining, 1) {
		t.Error("over before its timeout")
	}
	if !d.over(130*time.Second, convergence.StateDraining, 1) {
		t.Error("not over at its timeout")
	}
}
