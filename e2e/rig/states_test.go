// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const waitLimit = 30 * time.Second

// bucketsBecome waits until the hosts report so many buckets of a rule, in the order of their IDs.
func (r *Rig) bucketsBecome(t *testing.T, rule string, want ...int32) {
	t.Helper()
	must(t, poll(soon(t, waitLimit), func() error {
		for i, h := range r.Hosts[:len(want)] {
			is, err := h.Query(t.Context())
			if err != nil {
				return err
			}
			for _, b := range is.Status.Buckets {
				if b.Rule == rule && *b.Count != want[i] {
					return fmt.Errorf("%s has %d buckets of %s, want %d", h.Name, *b.Count, rule, want[i])
				}
			}
		}
		return nil
	}))
}

func (h *Host) becomes(t *testing.T, state v1alpha1.HostState) *v1alpha1.LoadBalancingHost {
	t.Helper()
	var is *v1alpha1.LoadBalancingHost
	must(t, poll(soon(t, waitLimit), func() (err error) {
		if is, err = h.Query(t.Context()); err == nil && is.Status.State != state {
			err = fmt.Errorf("%s is %s, want %s", h.Name, is.Status.State, state)
		}
		return err
	}))
	return is
}

// A drained host takes no new connection, keeps those it has, says how many are left, and stops with the last one
// (drainstop). No client sees any of it, and a crash of the agent in between does not undo it.
func TestDrainstop(t *testing.T) {
	r := startRig(t, 3, nil)
	h := r.Hosts[1]
	held, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second})
	must(t, err)
	letPass(t, time.Second)
	run := probing(t, r)
	letPass(t, time.Second)
	r.desired(t, h, v1alpha1.DesiredStateDrained)
	h.becomes(t, v1alpha1.HostDraining)
	from := time.Now()
	must(t, h.Kill())
	must(t, h.Start())
	h.becomes(t, v1alpha1.HostDraining)
	must(t, poll(soon(t, waitLimit), func() error {
		is, err := h.Query(t.Context())
		if err == nil && (is.Status.State != v1alpha1.HostDraining || is.Status.Traffic.Connections == nil || *is.Status.Traffic.Connections == 0) {
			err = fmt.Errorf("%s is %s and says nothing of the connections left", h.Name, is.Status.State)
		}
		if err == nil {
			c := meta.FindStatusCondition(is.Status.Conditions, v1alpha1.ConditionConverged)
			if c == nil || !strings.Contains(c.Message, " left") || strings.Contains(c.Message, ", 0 connection") {
				err = fmt.Errorf("condition %+v says nothing of the connections left", c)
			}
		}
		return err
	}))
	letPass(t, 2*time.Second)
	report := stop(t, held)
	none(t, report.Failed(), len(report.Attempts))
	if report.ByHost()[h.Name] == 0 {
		t.Errorf("no connection was held at %s", h.Name)
	}
	h.becomes(t, v1alpha1.HostStopped)
	t.Logf("stopped %v after the drain began", time.Since(from).Round(time.Millisecond))
	r.converged(t, r.Hosts[0], r.Hosts[2])
	report = stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
	for _, a := range report.Attempts {
		if a.Host == h.Name && a.Start.After(from.Add(2*time.Second)) {
			t.Errorf("%s took a new connection of %s %v after it was drained", h.Name, a.Client, a.Start.Sub(from))
			break
		}
	}
}

// A drain ends after its timeout although connections are left.
func TestDrainTimeout(t *testing.T) {
	r := startRig(t, 2, nil)
	held, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 5 * time.Second})
	must(t, err)
	defer func() { _ = stop(t, held) }()
	letPass(t, time.Second)
	r.config(r.Hosts[1]).DrainTimeoutSeconds = new(int32(3))
	r.desired(t, r.Hosts[1], v1alpha1.DesiredStateDrained)
	r.Hosts[1].becomes(t, v1alpha1.HostDraining)
	r.Hosts[1].becomes(t, v1alpha1.HostStopped)
	r.converged(t, r.Hosts[0])
}

// The reported state is the one acted on after every pair of commands (Q247712), also over a restart of the agent.
func TestQ247712(t *testing.T) {
	const started, stopped, drained, suspended = v1alpha1.DesiredStateStarted, v1alpha1.DesiredStateStopped,
		v1alpha1.DesiredStateDrained, v1alpha1.DesiredStateSuspended
	reported := map[v1alpha1.DesiredState]v1alpha1.HostState{
		started: v1alpha1.HostConverged, stopped: v1alpha1.HostStopped,
		drained:   v1alpha1.HostStopped, // there is nothing to wait for
		suspended: v1alpha1.HostSuspended,
	}
	r := startRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules[0].Protocol = v1alpha1.ProtocolBoth
	})
	h := r.Hosts[0] // the default host
	// Every ordered pair that is allowed: after suspended there is only stopped (resume).
	commands := []v1alpha1.DesiredState{
		stopped, started, drained, started, suspended, stopped,
		drained, stopped, suspended, stopped, started,
		drained, suspended, stopped, started,
	}
	for i, state := range commands {
		r.desired(t, h, state)
		h.becomes(t, reported[state])
		want := map[bool]int{true: 2, false: 1}[state == started]
		if state == started {
			r.converged(t, r.Hosts...)
		} else {
			r.converged(t, r.Hosts[1])
		}
		if i%5 == 4 {
			must(t, h.Kill())
			must(t, h.Start())
			h.becomes(t, reported[state])
			if state == started {
				r.converged(t, r.Hosts...)
			}
		}
		// A drain waits ten seconds for what TCP connections that are over may still have to say. Datagrams leave nothing.
		udp := i+1 < len(commands) && commands[i+1] == drained
		if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 60, UDP: udp}); len(got) != want {
			t.Errorf("command %d, %s: answers of %v, want %d hosts", i, state, got, want)
		}
	}
}

// A suspended host refuses all commands but resume, says so, and stays what it is, also over a restart of the agent.
func TestSuspendedRefusesCommands(t *testing.T) {
	r := startRig(t, 2, nil)
	h := r.Hosts[0]
	r.desired(t, h, v1alpha1.DesiredStateSuspended)
	h.becomes(t, v1alpha1.HostSuspended)
	for i, state := range []v1alpha1.DesiredState{v1alpha1.DesiredStateDrained, v1alpha1.DesiredStateStarted} {
		r.desired(t, h, state)
		if i == 1 {
			must(t, h.Kill())
			must(t, h.Start())
		}
		must(t, poll(soon(t, waitLimit), func() error { return h.refuses(t, "host "+h.Name+" is suspended and refuses control commands") }))
		h.becomes(t, v1alpha1.HostSuspended)
	}
	r.desired(t, h, v1alpha1.DesiredStateStopped)
	h.becomes(t, v1alpha1.HostStopped)
	must(t, h.refuses(t, ""))
	r.desired(t, h, v1alpha1.DesiredStateStarted)
	r.converged(t, r.Hosts...)
}

// refuses checks what a host says of the config that it was offered last; "" is no refusal.
func (h *Host) refuses(t *testing.T, words string) error {
	is, err := h.Query(t.Context())
	if err != nil {
		return err
	}
	for _, c := range is.Status.Conditions {
		if c.Type == v1alpha1.ConditionConfigConsistent {
			if (c.Status == metav1.ConditionFalse) != (words != "") || !strings.Contains(c.Message, words) {
				return fmt.Errorf("%s says %s, %q; want %q", h.Name, c.Status, c.Message, words)
			}
			return nil
		}
	}
	return fmt.Errorf("%s has no condition ConfigConsistent", h.Name)
}

// A rule that is drained or disabled on a host gives its share to the others; drained, what is connected stays.
func TestRuleStates(t *testing.T) {
	r := startRig(t, 3, nil)
	held, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second})
	must(t, err)
	letPass(t, time.Second)
	set := func(state v1alpha1.RuleState) {
		r.config(r.Hosts[1]).Rules = []v1alpha1.HostRule{{Name: "http", State: state}}
		must(t, r.WriteCluster())
	}
	set(v1alpha1.RuleStateDrained)
	r.bucketsBecome(t, "http", 30, 0, 30)
	if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 120}); got["node-b"] != 0 || len(got) != 2 {
		t.Errorf("drained on node-b: %v", got)
	}
	report := stop(t, held)
	none(t, report.Failed(), len(report.Attempts))
	if report.ByHost()["node-b"] == 0 {
		t.Error("no connection was held at node-b")
	}
	set(v1alpha1.RuleStateEnabled)
	r.bucketsBecome(t, "http", 20, 20, 20)
	set(v1alpha1.RuleStateDisabled)
	r.bucketsBecome(t, "http", 30, 0, 30)
	if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 120}); got["node-b"] != 0 || len(got) != 2 {
		t.Errorf("disabled on node-b: %v", got)
	}
	r.converged(t, r.Hosts...)
}
