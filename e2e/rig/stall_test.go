// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func stallWindow() time.Duration {
	var defaults v1alpha1.StallDetection
	return defaults.Window()
}

// The host that this project is for: heartbeats pass, the cluster is converged, and one host's replies stand in
// its transmit queue (Microsoft KB Q228942). That host is flagged, no other, and it is not when the queue moves again.
func TestQ228942(t *testing.T) {
	r := startRig(t, 3, nil)
	run := probing(t, r)
	defer func() { _ = stop(t, run) }()
	letPass(t, time.Second)
	sick := r.Hosts[1]
	at := time.Now()
	must(t, sick.StallEgress())

	window := stallWindow()
	stall, err := sick.WaitStall(soon(t, window+3*time.Second), v1alpha1.StallEgressQueue)
	must(t, err)
	t.Logf("flagged after %v: %s: %s", time.Since(at).Round(time.Millisecond), stall.Queue, stall.Message)
	if stall.Queue != "class 1:10 (eth0)" {
		t.Errorf("queue %q, want class 1:10 (eth0)", stall.Queue)
	}
	r.converged(t, r.Hosts...) // while stalled: that is the point
	for _, h := range r.Hosts {
		is, err := h.Query(t.Context())
		must(t, err)
		if h != sick && is.Status.Stall != nil {
			t.Errorf("%s is flagged, too: %+v", h.Name, is.Status.Stall)
		}
	}

	must(t, sick.Unstall())
	at = time.Now()
	if _, err := sick.WaitStall(soon(t, 3*window), ""); err != nil {
		t.Fatal(err)
	}
	t.Logf("cleared after %v", time.Since(at).Round(time.Millisecond))
}

// A single client is enough to see the stall of the host it is at.
func TestQ228942WithOneClient(t *testing.T) {
	r := startRig(t, 1, nil)
	must(t, r.Hosts[0].StallEgress())
	run, err := r.StartLoad(Load{Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 1, Connections: 2, Interval: 100 * time.Millisecond, Timeout: 15 * time.Second})
	must(t, err)
	defer func() { _, _ = run.Stop() }()
	_, err = r.Hosts[0].WaitStall(soon(t, 12*time.Second), v1alpha1.StallEgressQueue)
	must(t, err)
}

// A server that is gone answers with RST: that is no stall. One that is silent is.
func TestServiceNotAnswering(t *testing.T) {
	needTool(t, "nft")
	r := startRig(t, 1, nil)
	h := r.Hosts[0]
	run := probing(t, r)
	defer func() { _ = stop(t, run) }()
	must(t, h.StopServer())
	letPass(t, 2*stallWindow())
	is, err := h.Query(t.Context())
	must(t, err)
	if is.Status.Stall != nil {
		t.Errorf("refused connections are flagged: %+v", is.Status.Stall)
	}
	for _, c := range []string{"add table ip mute", "add chain ip mute in { type filter hook input priority 0 ; }", "add rule ip mute in tcp dport 80 drop"} {
		_, err := h.NS.Run("nft", strings.Fields(c)...)
		must(t, err)
	}
	_, err = h.WaitStall(soon(t, 10*time.Second), v1alpha1.StallServiceNotAnswering)
	must(t, err)
	_, err = h.NS.Run("nft", "delete", "table", "ip", "mute")
	must(t, err)
	must(t, h.StartServer())
	_, err = h.WaitStall(soon(t, 15*time.Second), "")
	must(t, err)
}

// Idle hosts and hosts whose sending is paced are not stalled (Q248279).
func TestQ248279IdleAndSlowAreNoStall(t *testing.T) {
	r := startRig(t, 2, nil)
	slow := r.Hosts[1]
	_, err := slow.NS.Run("tc", strings.Fields("qdisc add dev eth0 root handle 1: htb default 20")...)
	must(t, err)
	_, err = slow.NS.Run("tc", strings.Fields("class add dev eth0 parent 1: classid 1:10 htb rate 8kbit burst 1 cburst 1")...)
	must(t, err)
	_, err = slow.NS.Run("tc", strings.Fields("class add dev eth0 parent 1: classid 1:20 htb rate 1gbit")...)
	must(t, err)
	_, err = slow.NS.Run("tc", strings.Fields("filter add dev eth0 parent 1: protocol ip u32 match ip src "+VIP.String()+"/32 flowid 1:10")...)
	must(t, err)
	watch := func(d time.Duration) {
		t.Helper()
		for end := time.Now().Add(d); time.Now().Before(end); letPass(t, 100*time.Millisecond) {
			for _, h := range r.Hosts {
				is, err := h.Query(t.Context())
				must(t, err)
				if is.Status.Stall != nil {
					t.Fatalf("%s is flagged: %+v", h.Name, is.Status.Stall)
				}
			}
		}
	}
	watch(7 * time.Second) // idle
	run := probing(t, r)
	watch(12 * time.Second)
	_ = stop(t, run)
}

// With action Evict a stalled host gets nothing until it recovers; its clients are served by others meanwhile.
func TestEvict(t *testing.T) {
	r := startRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.StallDetection.Action = v1alpha1.StallActionEvict
	})
	run := probing(t, r)
	letPass(t, time.Second)
	sick := r.Hosts[1]
	must(t, sick.StallEgress())
	_, err := sick.WaitStall(soon(t, waitLimit), v1alpha1.StallEgressQueue)
	must(t, err)
	r.bucketsBecome(t, "http", 30, 0, 30)
	if got := r.shares(t, Load{Target: vipPort(HTTPPort), Clients: 120}); got[sick.Name] != 0 || len(got) != 2 {
		t.Errorf("with node-b evicted: %v", got)
	}
	r.converged(t, r.Hosts...) // it is a member all the same
	must(t, sick.Unstall())
	_, err = sick.WaitStall(soon(t, waitLimit), "")
	must(t, err)
	r.bucketsBecome(t, "http", 20, 20, 20)
	_ = stop(t, run)
}

// Of two hosts none is evicted: that would be half of the cluster.
func TestEvictNeverHalf(t *testing.T) {
	r := startRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.StallDetection.Action = v1alpha1.StallActionEvict
	})
	run := probing(t, r)
	defer func() { _ = stop(t, run) }()
	must(t, r.Hosts[1].StallEgress())
	_, err := r.Hosts[1].WaitStall(soon(t, waitLimit), v1alpha1.StallEgressQueue)
	must(t, err)
	letPass(t, 2*time.Second)
	r.bucketsBecome(t, "http", 30, 30)
}

// Replies that get lost beyond the host are seen by comparison with the peers, whose clients complete their handshakes.
func TestRepliesLost(t *testing.T) {
	needTool(t, "nft")
	r := startRig(t, 3, nil)
	run := probing(t, r)
	defer func() { _ = stop(t, run) }()
	letPass(t, time.Second)
	must(t, r.Hosts[2].DropAnswers())
	_, err := r.Hosts[2].WaitStall(soon(t, waitLimit), v1alpha1.StallRepliesLost)
	must(t, err)
	for _, h := range r.Hosts[:2] {
		is, err := h.Query(t.Context())
		must(t, err)
		if is.Status.Stall != nil {
			t.Errorf("%s is flagged, too: %+v", h.Name, is.Status.Stall)
		}
	}
	must(t, r.Hosts[2].LetAnswers())
	_, err = r.Hosts[2].WaitStall(soon(t, waitLimit), "")
	must(t, err)
}
