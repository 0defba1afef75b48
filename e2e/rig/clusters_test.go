// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// startClusters builds a rig whose hosts are in several clusters, and waits until all have converged. The first one, 0, is the rig's.
func startClusters(tb testing.TB, hosts, clusters int, change func(i int, c *v1alpha1.LoadBalancingCluster)) *Rig {
	tb.Helper()
	if change == nil {
		change = func(int, *v1alpha1.LoadBalancingCluster) {}
	}
	r := newRigOf(tb, Options{Hosts: hosts, Several: true, Change: func(c *v1alpha1.LoadBalancingCluster) { change(0, c) }})
	r.useAgent(tb)
	for i := 1; i < clusters; i++ {
		c := r.NewCluster(clusterName(i), ClusterVIP(i))
		change(i, c)
		must(tb, r.Add(c))
	}
	must(tb, r.StartAll())
	r.allConverged(tb, clusters)
	return r
}

// clusterName of a cluster beside the rig's first one.
func clusterName(i int) string {
	if i == 0 {
		return ClusterName
	}
	return fmt.Sprintf("c%02d", i)
}

func (r *Rig) allConverged(tb testing.TB, clusters int) {
	tb.Helper()
	ctx := soon(tb, 40*time.Second)
	for i := range clusters {
		must(tb, r.ConvergedIn(ctx, clusterName(i)))
	}
}

// probeVIP has clients connect to a virtual IP until they are stopped.
func (r *Rig) probeVIP(tb testing.TB, vip netip.Addr) *Running {
	tb.Helper()
	run, err := r.StartLoad(Load{
		Target: netip.AddrPortFrom(vip, HTTPPort), Clients: 30, Interval: 100 * time.Millisecond, Timeout: 5 * time.Second,
		Limit: 3 * time.Minute,
	})
	must(tb, err)
	return run
}

// served stops a load and fails the test if an attempt failed, or not all hosts answered.
func served(tb testing.TB, what string, run *Running, hosts int) {
	tb.Helper()
	report := stop(tb, run)
	none(tb, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); len(got) != hosts {
		tb.Errorf("%s: answers by host %v, want all %d", what, got, hosts)
	}
}

// Clusters of all modes on one interface are served side by side. One that is removed costs the others nothing, and one that comes
// back is served again.
func TestClustersOnOneInterface(t *testing.T) {
	modes := []v1alpha1.Mode{v1alpha1.ModeMulticast, v1alpha1.ModeUnicast, v1alpha1.ModeIGMPMulticast}
	r := startClusters(t, 3, 8, func(i int, c *v1alpha1.LoadBalancingCluster) {
		c.Spec.Mode = modes[i%len(modes)]
		c.Spec.Interface = "" // found by the subnet
	})
	var runs []*Running
	for _, i := range []int{0, 2, 7} {
		runs = append(runs, r.probeVIP(t, ClusterVIP(i)))
	}
	letPass(t, time.Second)
	must(t, r.Drop(clusterName(1)))
	must(t, r.Drop(clusterName(5)))
	must(t, r.Gone(soon(t, 30*time.Second), clusterName(1), ClusterVIP(1)))
	must(t, r.Gone(soon(t, 30*time.Second), clusterName(5), ClusterVIP(5)))
	must(t, r.Add(r.NewCluster(clusterName(5), ClusterVIP(5))))
	must(t, r.ConvergedIn(soon(t, 20*time.Second), clusterName(5)))
	again := r.probeVIP(t, ClusterVIP(5))
	letPass(t, time.Second)
	for i, run := range runs {
		served(t, fmt.Sprintf("cluster %d", i), run, 3)
	}
	served(t, "the cluster that came back", again, 3)
}

// Two clusters with one group address of IGMPMulticast, and so one cluster MAC and receive filter of the interface, go their own
// ways: the one that stays keeps what both had.
func TestClustersWithOneGroup(t *testing.T) {
	r := startClusters(t, 3, 2, func(i int, c *v1alpha1.LoadBalancingCluster) {
		c.Spec.Mode = v1alpha1.ModeIGMPMulticast
		if i == 1 {
			c.Spec.VirtualIPs = []string{twin.String()}
		}
	})
	run := r.probeVIP(t, VIP)
	letPass(t, time.Second)
	must(t, r.Drop(clusterName(1)))
	must(t, r.Gone(soon(t, 30*time.Second), clusterName(1), twin))
	letPass(t, 2*time.Second)
	served(t, "the cluster that stays", run, 3)
	for _, h := range r.Hosts {
		left, err := h.Leftovers()
		must(t, err)
		if all := strings.Join(left, "\n"); !strings.Contains(all, "receive filter 01005e7f0064") {
			t.Errorf("%s lost the receive filter: %s", h.Name, all)
		}
	}
}

// twin has the last two octets of VIP, and so its group and MAC in IGMPMulticast mode.
var twin = netip.MustParseAddr("10.78.0.100")

// A cluster that cannot work on a node disturbs no other one there.
func TestClusterThatFailsDisturbsNoOther(t *testing.T) {
	r := startClusters(t, 2, 2, nil)
	run := r.probeVIP(t, VIP)
	broken := r.NewCluster("broken", ClusterVIP(9))
	broken.Spec.Interface = "eth9"
	must(t, r.Add(broken))
	must(t, poll(soon(t, waitLimit), func() error {
		is, err := r.Hosts[0].QueryIn(t.Context(), "broken")
		if err != nil {
			return err
		}
		for _, c := range is.Status.Conditions {
			if c.Type == v1alpha1.ConditionDataplaneReady && c.Reason == v1alpha1.ReasonInterfaceNotFound {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", is.Status.Conditions)
	}))
	own := r.NewCluster("own", r.Hosts[1].Addr) // a virtual IP that is the address of a host
	must(t, r.Add(own))
	must(t, poll(soon(t, waitLimit), func() error {
		is, err := r.Hosts[1].QueryIn(t.Context(), "own")
		if err != nil {
			return err
		}
		for _, c := range is.Status.Conditions {
			if c.Type == v1alpha1.ConditionDataplaneReady && c.Reason == v1alpha1.ReasonVirtualIPIsNodeAddress &&
				strings.Contains(c.Message, r.Hosts[1].Addr.String()) && strings.Contains(c.Message, "eth0") {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", is.Status.Conditions)
	}))
	letPass(t, 3*time.Second) // tries again meanwhile
	served(t, "the cluster beside", run, 2)
	r.allConverged(t, 2)
}

// A second agent on a node waits, and takes over when the first one has ended. The first one, when it ends, takes nothing from it.
func TestSecondAgentWaits(t *testing.T) {
	r := newRigOf(t, Options{Hosts: 2, Several: true, AgentFlags: []string{"--restart-hold", "10s"}})
	r.useAgent(t)
	must(t, r.StartAll())
	r.converged(t, r.Hosts...)
	h, run := r.Hosts[0], r.probeVIP(t, VIP)
	first := h.agent
	h.agent = nil
	must(t, h.Start())
	must(t, poll(soon(t, waitLimit), func() error { return h.logHas("Waiting for the agent that runs on this node to end") }))
	letPass(t, 2*time.Second)
	if !h.Running() || !first.Running() {
		t.Fatal("an agent ended")
	}
	content, err := os.ReadFile(h.AgentLog())
	must(t, err)
	if n := strings.Count(string(content), "Waiting for the agent"); n != 1 || !strings.Contains(string(content), fmt.Sprintf("process %d", first.PID())) {
		t.Errorf("said %d times, want once and process %d", n, first.PID())
	}
	second := h.agent
	h.agent = first
	must(t, h.Stop())
	h.agent = second
	r.converged(t, r.Hosts...)
	letPass(t, 2*time.Second)
	r.converged(t, r.Hosts...)
	must(t, h.client().Ready(t.Context()))
	served(t, "clients", run, 2)
}

func (h *Host) logHas(words string) error {
	content, err := os.ReadFile(h.AgentLog())
	if err == nil && !strings.Contains(string(content), words) {
		err = fmt.Errorf("the log of %s lacks %q", h.Name, words)
	}
	return err
}

// An agent with eight clusters is killed: its peers take over all, and it goes on with all when it is back.
func TestAgentOfEightClustersCrashes(t *testing.T) {
	r := startClusters(t, 3, 8, nil)
	h := r.Hosts[1]
	must(t, h.Kill())
	ctx := soon(t, 20*time.Second)
	for i := range 8 {
		must(t, poll(ctx, func() error {
			is, err := r.Hosts[0].QueryIn(ctx, clusterName(i))
			if err == nil && (is.Status.State != v1alpha1.HostConverged || len(is.Status.Members) != 2) {
				err = fmt.Errorf("%s is %s with %v", clusterName(i), is.Status.State, is.Status.Members)
			}
			return err
		}))
	}
	for _, i := range []int{0, 4, 7} {
		report, err := r.Do(Load{Target: netip.AddrPortFrom(ClusterVIP(i), HTTPPort), Clients: 60, Connections: 1, Timeout: 5 * time.Second})
		must(t, err)
		none(t, report.Failed(), len(report.Attempts))
	}
	must(t, h.Start())
	r.allConverged(t, 8)
}

// A restart holds all clusters of a node, however many: no convergence, and no client notices.
func TestRestartWithManyClusters(t *testing.T) {
	for _, clusters := range []int{8, 32} {
		t.Run(fmt.Sprint(clusters), func(t *testing.T) { restart(t, clusters) })
	}
}

func restart(t *testing.T, clusters int) {
	r := newRigOf(t, Options{Hosts: 2, Several: true, AgentFlags: []string{"--restart-hold", "10s"}})
	r.useAgent(t)
	for i := 1; i < clusters; i++ {
		must(t, r.Add(r.NewCluster(clusterName(i), ClusterVIP(i))))
	}
	must(t, r.StartAll())
	r.allConverged(t, clusters)
	h := r.Hosts[0]
	epochs := map[string]int64{}
	for i := range clusters {
		is, err := h.QueryIn(t.Context(), clusterName(i))
		must(t, err)
		epochs[clusterName(i)] = *is.Status.Epoch
	}
	var runs []*Running
	for _, i := range []int{0, clusters - 1} {
		runs = append(runs, r.probeVIP(t, ClusterVIP(i)))
	}
	letPass(t, time.Second)
	begin := time.Now()
	must(t, h.Stop())
	ended := time.Since(begin)
	must(t, h.Start())
	must(t, poll(soon(t, 20*time.Second), func() error { return h.client().Ready(t.Context()) }))
	t.Logf("ended after %v, all hosts up %v after that", ended.Round(time.Millisecond), (time.Since(begin) - ended).Round(time.Millisecond))
	r.allConverged(t, clusters)
	for name, before := range epochs {
		is, err := h.QueryIn(t.Context(), name)
		must(t, err)
		if *is.Status.Epoch != before {
			t.Errorf("a restart made a convergence of %s: epoch %d, before %d", name, *is.Status.Epoch, before)
		}
	}
	for _, run := range runs {
		served(t, "clients", run, 2)
	}
}

// The clusters on an interface share one hook: that of the oldest that names one. A change moves the filter in place.
func TestClustersShareAHook(t *testing.T) {
	hooks := []v1alpha1.Hook{v1alpha1.HookAuto, v1alpha1.HookClsact, v1alpha1.HookTCX}
	r := startClusters(t, 2, 3, func(i int, c *v1alpha1.LoadBalancingCluster) { c.Spec.Dataplane.Hook = hooks[i] })
	run := r.probeVIP(t, VIP)
	stands := func(hook v1alpha1.Hook, also map[int]string) {
		t.Helper()
		must(t, poll(soon(t, 20*time.Second), func() error {
			for i, says := range also {
				is, err := r.Hosts[0].QueryIn(t.Context(), clusterName(i))
				if err != nil {
					return err
				}
				message := ""
				for _, c := range is.Status.Conditions {
					if c.Type == v1alpha1.ConditionDataplaneReady {
						message = c.Message
					}
				}
				if is.Status.Dataplane.Hook != hook || !strings.Contains(message, says) || says == "" && strings.Contains(message, "not at") {
					return fmt.Errorf("%s stands at %s and says %q", clusterName(i), is.Status.Dataplane.Hook, message)
				}
			}
			return nil
		}))
	}
	stands(v1alpha1.HookClsact, map[int]string{0: "", 1: "", 2: "not at TCX"})
	letPass(t, time.Second)
	must(t, r.Drop(clusterName(1)))
	stands(v1alpha1.HookTCX, map[int]string{0: "", 2: ""})
	letPass(t, time.Second)
	served(t, "the first cluster", run, 2)
}

// Pins that somebody removed take the programs along. The hosts there notice, and are set up anew.
func TestPinsRemoved(t *testing.T) {
	r := startClusters(t, 2, 2, nil)
	h := r.Hosts[0]
	must(t, os.RemoveAll(h.Pins()))
	must(t, poll(soon(t, 30*time.Second), func() error { return h.logHas("not attached any more") }))
	r.allConverged(t, 2)
	for i := range 2 {
		run := r.probeVIP(t, ClusterVIP(i))
		letPass(t, 2*time.Second)
		served(t, clusterName(i), run, 2)
	}
}

// A disk that takes nothing keeps no agent from serving.
func TestReadOnlyStateDirectory(t *testing.T) {
	r := newRig(t, 2, nil)
	r.useAgent(t)
	state := r.Hosts[0].StateDir()
	must(t, os.MkdirAll(state, 0o700))
	must(t, unix.Mount("tmpfs", state, "tmpfs", unix.MS_RDONLY, ""))
	t.Cleanup(func() { must(t, unmount(state)) })
	must(t, r.StartAll())
	r.converged(t, r.Hosts...)
	run := r.probeVIP(t, VIP)
	letPass(t, time.Second)
	served(t, "clients", run, 2)
	must(t, r.Hosts[0].logHas("Config not saved"))
}

// A cluster whose file goes while the agent is down is removed by the next one, and one whose saved config is of no use is
// served from its file; neither costs the cluster beside anything.
func TestClustersChangeWhileTheAgentIsDown(t *testing.T) {
	r := startClusters(t, 2, 3, nil)
	run := r.probeVIP(t, VIP)
	for _, h := range r.Hosts {
		must(t, h.Kill())
		must(t, os.WriteFile(filepath.Join(h.StateDir(), clusterName(2), "config.json"), []byte("{}"), 0o600))
		if h == r.Hosts[1] {
			must(t, r.Drop(clusterName(1)))
		}
		must(t, h.Start())
		must(t, r.ConvergedIn(soon(t, 20*time.Second), ClusterName))
	}
	must(t, r.Gone(soon(t, 30*time.Second), clusterName(1), ClusterVIP(1)))
	must(t, r.ConvergedIn(soon(t, 20*time.Second), clusterName(2)))
	served(t, "the cluster beside", run, 2)
	for _, h := range r.Hosts {
		must(t, h.logHas("Last config of no use"))
	}
}
