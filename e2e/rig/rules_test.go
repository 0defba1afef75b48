// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// rule returns a rule for one port of both protocols.
func rule(name string, port int32, mode v1alpha1.FilteringMode, affinity v1alpha1.Affinity) v1alpha1.PortRule {
	return v1alpha1.PortRule{
		Name: name, Ports: v1alpha1.PortRange{From: port, To: port}, Protocol: v1alpha1.ProtocolBoth,
		FilteringMode: mode, Affinity: affinity,
	}
}

func (r *Rig) config(h *Host) *v1alpha1.HostConfig {
	for i := range r.Cluster.Spec.Hosts {
		if r.Cluster.Spec.Hosts[i].NodeName == h.Name {
			return &r.Cluster.Spec.Hosts[i]
		}
	}
	panic("no entry for " + h.Name)
}

// shares makes many clients connect once and returns what share of them each host got, in percent.
func (r *Rig) shares(t *testing.T, l Load) map[string]float64 {
	t.Helper()
	l.Connections, l.Timeout = 1, 10*time.Second
	report, err := r.Do(l)
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	if len(report.Attempts) != l.Clients {
		t.Errorf("%d attempts of %d clients", len(report.Attempts), l.Clients)
	}
	out := map[string]float64{}
	for host, n := range report.ByHost() {
		out[host] = 100 * float64(n) / float64(len(report.Attempts))
	}
	return out
}

func vipPort(port uint16) netip.AddrPort { return netip.AddrPortFrom(VIP, port) }

// The share of a host is its weight by the sum of all, whatever selects the host of a client, for TCP and for UDP.
func TestWeights(t *testing.T) {
	weights := map[string]int32{"node-a": 30, "node-b": 60, "node-c": 10}
	rules := []v1alpha1.PortRule{
		rule("none", HTTPPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinityNone),
		rule("single", SecondPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle),
		rule("network", ThirdPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinityNetwork),
	}
	r := startRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules = rules
		for i := range c.Spec.Hosts {
			h := &c.Spec.Hosts[i]
			for j := range rules {
				h.Rules = append(h.Rules, v1alpha1.HostRule{Name: rules[j].Name, LoadWeight: new(weights[h.NodeName])})
			}
		}
	})
	const clients, points = 6000, 3
	check := func(what string, port uint16, udp bool) {
		got := r.shares(t, Load{Target: vipPort(port), Clients: clients, Remote: true, UDP: udp, Interval: 3 * time.Second})
		t.Logf("%s: %v", what, got)
		for host, want := range weights {
			if math.Abs(got[host]-float64(want)) > points {
				t.Errorf("%s: %s got %.1f%%, want %d", what, host, got[host], want)
			}
		}
	}
	check("TCP, affinity None", HTTPPort, false)
	check("TCP, affinity Single", SecondPort, false)
	check("UDP, affinity Network", ThirdPort, true)

	for _, h := range r.Hosts {
		r.config(h).Rules[1].LoadWeight = new(int32(50))
	}
	r.config(r.Hosts[0]).Rules[1].LoadWeight = new(int32(0))
	must(t, r.WriteCluster())
	r.bucketsBecome(t, "single", 0, 30, 30)
	if got := r.shares(t, Load{Target: vipPort(SecondPort), Clients: 600, Remote: true, Interval: time.Second}); got["node-a"] != 0 || len(got) != 2 {
		t.Errorf("with weight 0 of node-a: %v", got)
	}
}

// A rule of filtering mode Single is served by the best handling priority alone, and by the next when that host goes.
// One that is Disabled is served by nobody. A rule for one virtual IP overrides that for all.
func TestSingleDisabledAndOverride(t *testing.T) {
	second := netip.MustParseAddr("10.77.0.101")
	override := rule("override", SecondPort, v1alpha1.FilteringModeSingle, "")
	override.VirtualIP = second.String()
	r := startRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.VirtualIPs = append(c.Spec.VirtualIPs, second.String())
		c.Spec.PortRules = []v1alpha1.PortRule{
			rule("one", HTTPPort, v1alpha1.FilteringModeSingle, ""),
			rule("all", SecondPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle),
			rule("off", ThirdPort, v1alpha1.FilteringModeDisabled, ""),
			override,
		}
		for i := range c.Spec.Hosts {
			c.Spec.Hosts[i].Rules = []v1alpha1.HostRule{{Name: "one", HandlingPriority: new(int32(3 - i))}, {Name: "override", HandlingPriority: new(int32(1 + (i+2)%3))}}
		}
	})
	only := func(what string, target netip.AddrPort, host string) {
		t.Helper()
		for _, udp := range []bool{false, true} {
			if got := r.shares(t, Load{Target: target, Clients: 60, UDP: udp}); got[host] != 100 {
				t.Errorf("%s, UDP %v: %v, want all at %s", what, udp, got, host)
			}
		}
	}
	only("best priority", vipPort(HTTPPort), "node-c")
	only("rule for one virtual IP", netip.AddrPortFrom(second, SecondPort), "node-b")
	only("no rule", vipPort(OtherPort), "node-a")
	if got := r.shares(t, Load{Target: vipPort(SecondPort), Clients: 120}); len(got) != 3 {
		t.Errorf("rule for all: %v, want all hosts", got)
	}
	report, err := r.Do(Load{Target: vipPort(ThirdPort), Clients: 10, Connections: 1, Timeout: 1500 * time.Millisecond})
	must(t, err)
	if len(report.Failed()) != 10 {
		t.Errorf("disabled rule: answers %v", report.ByHost())
	}
	must(t, r.Hosts[2].Kill())
	r.converged(t, r.Hosts[0], r.Hosts[1])
	only("next priority", vipPort(HTTPPort), "node-b")
}
