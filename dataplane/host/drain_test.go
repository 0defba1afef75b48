// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

func TestDrainStopsWhenTheLastConnectionEnds(t *testing.T) {
	drained := &plan.Plan{DesiredState: v1alpha1.DesiredStateDrained}
	var d drain
	d.set(drained, 10*time.Second)
	if got := d.adminState(drained).State; got != convergence.Drained {
		t.Errorf("state %v, want Drained", got)
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
		if got := d.over(time.Hour, s.state, s.connections, 0); got != s.over {
			t.Errorf("step %d: over = %v, want %v", i, got, s.over)
		}
	}
	d.set(drained, 20*time.Second) // a new config that changes something else
	if got := d.adminState(drained).State; got != convergence.Stopped {
		t.Errorf("after the drain: state %v, want Stopped", got)
	}
	started := &plan.Plan{DesiredState: v1alpha1.DesiredStateStarted}
	d.set(started, 30*time.Second)
	if got := d.adminState(started).State; got != convergence.Started {
		t.Errorf("after start: state %v, want Started", got)
	}
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	drained := &plan.Plan{DesiredState: v1alpha1.DesiredStateDrained, DrainTimeout: 30 * time.Second}
	var d drain
	d.set(drained, 100*time.Second)
	d.set(drained, 120*time.Second) // another change does not prolong it
	if d.over(129*time.Second, convergence.StateDraining, 1, 0) {
		t.Error("over before its timeout")
	}
	if !d.over(130*time.Second, convergence.StateDraining, 1, 0) {
		t.Error("not over at its timeout")
	}
}

// Half-open connections get the time of a handshake and no more: a SYN flood does not keep a host from stopping.
func TestDrainOutlastsHalfOpen(t *testing.T) {
	d := drain{wanted: true, since: time.Minute}
	if d.over(time.Minute+handshakeLimit-1, convergence.StateDraining, 0, 5) {
		t.Error("over while handshakes may be under way")
	}
	if !d.over(time.Minute+handshakeLimit, convergence.StateDraining, 0, 5) {
		t.Error("not over although what is half open is dead")
	}
}
