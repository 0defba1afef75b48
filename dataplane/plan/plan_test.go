// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// config returns a config of two rules for tests to change.
func config(change ...func(*v1alpha1.LoadBalancingClusterSpec, *v1alpha1.LoadBalancingHostSpec)) Config {
	d := Config{Cluster: &v1alpha1.LoadBalancingCluster{}, Host: &v1alpha1.LoadBalancingHost{}}
	d.Cluster.Name, d.Cluster.Generation = "web", 3
	d.Cluster.Spec = v1alpha1.LoadBalancingClusterSpec{
		VirtualIPs: []string{"10.77.0.100", "10.77.0.101"},
		PortRules: []v1alpha1.PortRule{
			{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}, Protocol: v1alpha1.ProtocolTCP, Affinity: v1alpha1.AffinityNone},
			{Name: "admin", Ports: v1alpha1.PortRange{From: 8000, To: 8010}, VirtualIP: "10.77.0.101", FilteringMode: v1alpha1.FilteringModeSingle},
		},
	}
	d.Host.Spec = v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-b", HostID: 2}
	for _, c := range change {
		c(&d.Cluster.Spec, &d.Host.Spec)
	}
	if d.Host.Spec.VirtualIPs == nil { // all are assigned to the cluster
		d.Host.Spec.VirtualIPs = d.Cluster.Spec.VirtualIPs
	}
	return d
}

func mustPlan(t *testing.T, c Config) *Plan {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanFillsInWhatIsNotSaid(t *testing.T) {
	p := mustPlan(t, config())
	if got, want := p.ClusterMAC.String(), "03:bf:0a:4d:00:64"; got != want {
		t.Errorf("cluster MAC %s, want %s", got, want)
	}
	if p.HeartbeatMAC.String() != p.ClusterMAC.String() {
		t.Errorf("heartbeats go to %s, want the cluster MAC", p.HeartbeatMAC)
	}
	policy := p.Policy()
	for slot, want := range map[int]convergence.SlotPolicy{
		0:                  {Mode: placement.Multiple, Weight: 50, Priority: 33, Name: "http"},
		1:                  {Mode: placement.Single, Weight: 50, Priority: 33, Name: "admin"},
		bucket.DefaultSlot: {Mode: placement.Multiple, Weight: 50, Priority: 33, Name: "default"},
	} {
		got := policy.Slots[slot]
		if got.Digest == 0 {
			t.Errorf("slot %d has no digest", slot)
		}
		got.Digest = 0
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("slot %d (-want +got):\n%s", slot, diff)
		}
	}
	table := p.Table(&convergence.Decision{Epoch: 7}, true)
	if err := table.Validate(); err != nil {
		t.Error(err)
	}
	if table.Slots[0].Affinity != filter.AffinityNone || table.Slots[1].Filter != filter.ModeSingle {
		t.Errorf("filter slots: %+v, %+v", table.Slots[0], table.Slots[1])
	}
}

func TestHandlingPrioritiesGoBeforeHostIDs(t *testing.T) {
	var order []uint8
	for _, h := range []struct {
		priority *int32
		hostID   int32
	}{{new(int32(1)), 32}, {new(int32(32)), 1}, {nil, 1}, {nil, 32}} {
		p := mustPlan(t, config(func(_ *v1alpha1.LoadBalancingClusterSpec, s *v1alpha1.LoadBalancingHostSpec) {
			s.HostID, s.Rules = h.hostID, []v1alpha1.HostRule{{Name: "admin", HandlingPriority: h.priority}}
		}))
		order = append(order, p.Policy().Slots[1].Priority)
	}
	if diff := cmp.Diff([]uint8{0, 31, 32, 63}, order); diff != "" { // what fits into a heartbeat's six bits
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestHeartbeatsAreBroadcastInUnicastMode(t *testing.T) {
	p := mustPlan(t, config(func(c *v1alpha1.LoadBalancingClusterSpec, _ *v1alpha1.LoadBalancingHostSpec) {
		c.Mode = v1alpha1.ModeUnicast
	}))
	if p.HeartbeatMAC.String() != "ff:ff:ff:ff:ff:ff" {
		t.Errorf("heartbeats go to %s (Microsoft KB Q232711)", p.HeartbeatMAC)
	}
}

// Hosts may filter by different weights, never by different rules.
func TestDigestCoversWhatHostsShare(t *testing.T) {
	type spec = v1alpha1.LoadBalancingClusterSpec
	type host = v1alpha1.LoadBalancingHostSpec
	base := mustPlan(t, config())
	for name, test := range map[string]struct {
		change func(*spec, *host)
		shared bool
	}{
		"port range":  {func(c *spec, _ *host) { c.PortRules[0].Ports.To = 81 }, true},
		"affinity":    {func(c *spec, _ *host) { c.PortRules[0].Affinity = v1alpha1.AffinitySingle }, true},
		"another VIP": {func(c *spec, _ *host) { c.VirtualIPs = append(c.VirtualIPs, "10.77.0.102") }, true},
		"tolerance":   {func(c *spec, _ *host) { c.Heartbeat.Tolerance = new(int32(9)) }, true},
		"weight": {func(_ *spec, h *host) {
			h.Rules = []v1alpha1.HostRule{{Name: "http", LoadWeight: new(int32(7))}}
		}, false},
		"host ID":             {func(_ *spec, h *host) { h.HostID = 9 }, false},
		"stall detection":     {func(c *spec, _ *host) { c.StallDetection.MinPackets = new(int32(99)) }, false},
		"default spelled out": {func(c *spec, _ *host) { c.PortRules[0].FilteringMode = v1alpha1.FilteringModeMultiple }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if changed := mustPlan(t, config(test.change)).Digest != base.Digest; changed != test.shared {
				t.Errorf("digest changed: %v, want %v", changed, test.shared)
			}
		})
	}
}

// A slot goes on serving through a change of config that does not touch its packets.
func TestSlotDigestCoversThePacketsOfTheSlot(t *testing.T) {
	slots := func(rules ...v1alpha1.PortRule) [bucket.Slots]Slot {
		return mustPlan(t, config(func(c *v1alpha1.LoadBalancingClusterSpec, _ *v1alpha1.LoadBalancingHostSpec) { c.PortRules = rules })).Slots
	}
	rule := func(name string, from, to int32, vip string) v1alpha1.PortRule {
		return v1alpha1.PortRule{Name: name, Ports: v1alpha1.PortRange{From: from, To: to}, VirtualIP: vip}
	}
	base := slots(rule("http", 80, 80, ""))
	if got := slots(rule("dns", 53, 53, ""), rule("http", 80, 80, "")); got[1].Digest != base[0].Digest {
		t.Error("a rule elsewhere changed the digest of a rule that only moved in the list")
	}
	if got := slots(rule("http", 80, 80, ""), rule("special", 1, 100, "10.77.0.101")); got[0].Digest == base[0].Digest {
		t.Error("a rule for one virtual IP takes packets away, the digest is the same")
	}
	if got := slots(rule("http", 80, 81, "")); got[bucket.DefaultSlot].Digest == base[bucket.DefaultSlot].Digest {
		t.Error("the default rule lost a port, its digest is the same")
	}
}

func TestPlanRefuses(t *testing.T) {
	type spec = v1alpha1.LoadBalancingClusterSpec
	type host = v1alpha1.LoadBalancingHostSpec
	for name, test := range map[string]struct {
		change func(*spec, *host)
		want   string
	}{
		"no VIP":       {func(c *spec, _ *host) { c.VirtualIPs = nil }, "spec.virtualIPs: at least one"},
		"no address":   {func(c *spec, _ *host) { c.VirtualIPs[1] = "web" }, "spec.virtualIPs[1]"},
		"VIP twice":    {func(c *spec, _ *host) { c.VirtualIPs[1] = c.VirtualIPs[0] }, "spec.virtualIPs[1]: 10.77.0.100 is there twice"},
		"ports turned": {func(c *spec, _ *host) { c.PortRules[1].Ports.To = 10 }, "spec.portRules[1] (admin): ports 8000-10"},
		"foreign VIP":  {func(c *spec, _ *host) { c.PortRules[1].VirtualIP = "10.1.1.1" }, "10.1.1.1 is not in spec.virtualIPs"},
		"host ID":      {func(_ *spec, h *host) { h.HostID = 33 }, "node-b: hostID 33 is not in 1..32"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(config(test.change)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}
