// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// cycles are few in a run of all tests.
var cycles = flag.Int("rig.cycles", 3, "how often TestLeaderComesAndGoesUnderLoad has a host leave and return")

// probing is many clients that keep connecting: what they see is what a change of the cluster costs. They are
// as patient as a browser is, so that a machine short of processors fails no test.
func probing(tb testing.TB, r *Rig) *Running {
	tb.Helper()
	run, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Interval: 100 * time.Millisecond, Timeout: 5 * time.Second,
	})
	must(tb, err)
	return run
}

func stop(tb testing.TB, run *Running) Report {
	tb.Helper()
	report, err := run.Stop()
	must(tb, err)
	return report
}

// A lone host lists itself and serves (the second face of Q228942).
func TestLoneHostListsItself(t *testing.T) {
	r := startRig(t, 1, nil)
	is, err := r.Hosts[0].QueryCLI(soon(t, 5*time.Second))
	must(t, err)
	if got := is.Status.Columns.State; got != "Converged as DEFAULT" {
		t.Errorf("state %q, want Converged as DEFAULT", got)
	}
	report, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Connections: 1, Timeout: 5 * time.Second})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
}

// maxOutage is generous: the measured outage is printed, and BenchmarkFailover looks at it closely.
const maxOutage = 5 * time.Second

// crash makes one of three hosts go without a word and checks what clients see.
func crash(t *testing.T, how func(*Host) error) {
	t.Helper()
	r := startRig(t, 3, nil)
	c, err := r.StartCapture()
	must(t, err)
	run := probing(t, r)
	letPass(t, 2*time.Second)
	at := time.Now()
	gone := r.Hosts[1]
	must(t, how(gone))
	r.converged(t, r.Hosts[0], r.Hosts[2])
	t.Logf("the others converged %v after the crash", time.Since(at).Round(time.Millisecond))
	letPass(t, 3*time.Second)
	report := stop(t, run)
	frames, err := c.Stop()
	must(t, err)

	noOutage(t, report)
	home := report.HostOf()
	var elsewhere []Attempt
	for _, a := range report.Failed() {
		if home[a.Client] != gone.Name {
			elsewhere = append(elsewhere, a)
		}
	}
	none(t, elsewhere, len(report.Attempts))
	for _, a := range report.Attempts {
		if a.Error == "" && a.Host == gone.Name && a.Start.After(at.Add(maxOutage)) {
			t.Errorf("%s still answered %s %v after the crash", gone.Name, a.Client, a.Start.Sub(at))
			break
		}
	}
	r.onceAccepted(t, frames)
}

// noOutage tells how long the worst-off client was without an answer, and fails the test if that was too long.
func noOutage(t *testing.T, report Report) {
	t.Helper()
	client, gap := report.LongestGap()
	t.Logf("longest gap that a client saw: %v (%s)", gap.Round(time.Millisecond), client)
	if gap > maxOutage {
		t.Errorf("client %s was without an answer for %v", client, gap)
	}
}

// onceAccepted fails the test if two hosts answered one SYN.
func (r *Rig) onceAccepted(t *testing.T, frames []Frame) {
	t.Helper()
	r.neverAsSource(t, frames)
	accepted := synAcks(frames)
	if len(accepted) == 0 {
		t.Error("the capture shows no accepted connection")
	}
	for client, hosts := range accepted {
		if len(hosts) > 1 {
			t.Errorf("%s was accepted by %v", client, hosts)
		}
	}
}

// A host that loses power is replaced; clients of the others notice nothing.
func TestHostCrash(t *testing.T) { crash(t, (*Host).PowerOff) }

// An agent that crashes leaves a filter behind, which serves on until its lease ends and no longer.
func TestAgentCrash(t *testing.T) { crash(t, (*Host).Kill) }

// A host that peers do not hear must not serve beside them (one-way loss).
func TestMuteHostIsExcluded(t *testing.T) {
	needTool(t, "nft")
	r := startRig(t, 3, nil)
	c, err := r.StartCapture()
	must(t, err)
	run := probing(t, r)
	letPass(t, time.Second)
	mute := r.Hosts[0]
	must(t, mute.Mute())
	r.converged(t, r.Hosts[1], r.Hosts[2])
	must(t, poll(soon(t, 10*time.Second), func() error {
		is, err := mute.Query(t.Context())
		if err == nil && is.Status.State != v1alpha1.HostExcluded {
			err = fmt.Errorf("state %s", is.Status.State)
		}
		return err
	}))
	letPass(t, 2*time.Second)
	must(t, mute.Unmute())
	r.converged(t, r.Hosts...)
	report := stop(t, run)
	frames, err := c.Stop()
	must(t, err)
	r.onceAccepted(t, frames)
	noOutage(t, report)
}

// A host that leaves hands its clients over, and takes them back when it returns: no connection attempt fails. What moves
// is released before it is acquired, so that a SYN in between is sent again.
func TestLeaveAndJoinLoseNoConnection(t *testing.T) {
	r := startRig(t, 3, nil)
	run := probing(t, r)
	letPass(t, time.Second)
	must(t, r.Hosts[1].Stop())
	r.converged(t, r.Hosts[0], r.Hosts[2])
	letPass(t, time.Second)
	must(t, r.Hosts[1].Start())
	r.converged(t, r.Hosts...)
	letPass(t, time.Second)
	report := stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); len(got) != 3 {
		t.Errorf("answers by host: %v, want all three", got)
	}
	t.Logf("%d of %d attempts had to send their SYN again", report.Resent(), len(report.Attempts))
}

// The host with the lowest ID leaves and returns again and again under many connections: it leads as soon as it is back, the buckets
// move twice each time, and no connection that was just accepted is lost.
func TestLeaderComesAndGoesUnderLoad(t *testing.T) {
	r := startRig(t, 3, nil)
	run, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: 120, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second, Limit: 5 * time.Minute})
	must(t, err)
	letPass(t, 500*time.Millisecond)
	for range *cycles {
		must(t, r.Hosts[0].Stop())
		r.converged(t, r.Hosts[1:]...)
		letPass(t, 200*time.Millisecond)
		must(t, r.Hosts[0].Start())
		r.converged(t, r.Hosts...)
		letPass(t, 700*time.Millisecond)
	}
	report := stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
	t.Logf("%d of %d attempts had to send their SYN again", report.Resent(), len(report.Attempts))
}

// desired sets a host's desired state in the cluster file.
func (r *Rig) desired(t *testing.T, h *Host, state v1alpha1.DesiredState) {
	t.Helper()
	for i := range r.Cluster.Spec.Hosts {
		if r.Cluster.Spec.Hosts[i].NodeName == h.Name {
			r.Cluster.Spec.Hosts[i].DesiredState = state
		}
	}
	must(t, r.WriteCluster())
}

// A host that is told to stop is no member, still lists itself, and its clients go elsewhere without a failure.
func TestDesiredStateStopped(t *testing.T) {
	r := startRig(t, 3, nil)
	run := probing(t, r)
	r.desired(t, r.Hosts[0], v1alpha1.DesiredStateStopped)
	r.converged(t, r.Hosts[1], r.Hosts[2])
	must(t, poll(soon(t, 10*time.Second), func() error {
		is, err := r.Hosts[0].Query(t.Context())
		if err == nil && is.Status.State != v1alpha1.HostStopped {
			err = fmt.Errorf("state %s", is.Status.State)
		}
		return err
	}))
	letPass(t, time.Second)
	r.desired(t, r.Hosts[0], v1alpha1.DesiredStateStarted)
	r.converged(t, r.Hosts...)
	report := stop(t, run)
	none(t, report.Failed(), len(report.Attempts))
}

// Established connections stay where they are while others come and go.
func TestLongConnectionsSurvive(t *testing.T) {
	r := startRig(t, 2, nil)
	held, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 5 * time.Second,
	})
	must(t, err)
	letPass(t, time.Second)
	// node-b leaves its clients behind with a word, so only those of node-a count here.
	late := r.Hosts[1]
	must(t, late.Stop())
	r.converged(t, r.Hosts[0])
	letPass(t, time.Second)
	must(t, late.Start())
	r.converged(t, r.Hosts...)
	letPass(t, time.Second)
	report := stop(t, held)

	home, kept := report.HostOf(), 0
	for _, name := range home {
		if name == "node-a" {
			kept++
		}
	}
	if kept == 0 {
		t.Fatal("no connection at node-a to watch")
	}
	var broken []Attempt
	for _, a := range report.Failed() {
		if home[a.Client] == "node-a" {
			broken = append(broken, a)
		}
	}
	none(t, broken, len(report.Attempts))
}

// A frozen agent's filter stops accepting before its peers take its clients: no connection has two hosts.
func TestFrozenAgentIsFenced(t *testing.T) {
	r := startRig(t, 3, nil)
	c, err := r.StartCapture()
	must(t, err)
	run := probing(t, r)
	letPass(t, time.Second)
	must(t, r.Hosts[1].Freeze())
	r.converged(t, r.Hosts[0], r.Hosts[2])
	letPass(t, time.Second)
	must(t, r.Hosts[1].Thaw())
	r.converged(t, r.Hosts...)
	letPass(t, time.Second)
	report := stop(t, run)
	frames, err := c.Stop()
	must(t, err)
	r.onceAccepted(t, frames)
	noOutage(t, report)
}

// A host behind a cut cable serves nobody; when the cable is mended it joins before it serves, so that no client is
// accepted by it and by another.
func TestCutCable(t *testing.T) {
	r := startRig(t, 3, nil)
	c, err := r.StartCapture()
	must(t, err)
	run := probing(t, r)
	letPass(t, time.Second)
	must(t, r.Hosts[0].Cut())
	r.converged(t, r.Hosts[1], r.Hosts[2])
	r.Hosts[0].becomes(t, v1alpha1.HostDisconnected)
	letPass(t, 2*time.Second) // long enough to converge alone
	must(t, r.Hosts[0].Mend())
	r.converged(t, r.Hosts...)
	letPass(t, time.Second)
	report := stop(t, run)
	frames, err := c.Stop()
	must(t, err)
	r.onceAccepted(t, frames)
	noOutage(t, report)
}

// An agent that crashed and is started again takes over its filter: connections that were there live on.
func TestRestartKeepsConnections(t *testing.T) {
	r := startRig(t, 2, nil)
	held, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second,
	})
	must(t, err)
	letPass(t, time.Second)
	must(t, r.Hosts[1].Kill())
	must(t, r.Hosts[1].Start())
	r.converged(t, r.Hosts...)
	letPass(t, 2*time.Second)
	report := stop(t, held)
	none(t, report.Failed(), len(report.Attempts))
}

// A host taken out of the cluster is left as it was before.
func TestRemovedHostIsLeftClean(t *testing.T) {
	r := startRig(t, 3, nil)
	h := r.Hosts[2]
	if left, err := h.Leftovers(); err != nil || len(left) == 0 {
		t.Fatalf("a running host shows nothing to leave behind: %v, %v", left, err)
	}
	must(t, h.Leave(soon(t, 20*time.Second)))
	r.converged(t, r.Hosts[0], r.Hosts[1])
}

// So is one whose agent is asked to end.
func TestStoppedAgentLeavesNothing(t *testing.T) {
	r := startRig(t, 2, nil)
	must(t, r.Hosts[1].Stop())
	left, err := r.Hosts[1].Leftovers()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("leftovers: %v", left)
	}
}
