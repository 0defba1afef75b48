// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// everything returns a config in which every field that a digest covers has another value than its default.
func everything() Config {
	return config(func(c *clusterSpec, h *hostSpec) {
		c.Mode = v1alpha1.ModeUnicast
		c.VirtualIPs = []string{"10.77.0.100", "fd77::100", "10.77.0.101"}
		h.VirtualIPs = []string{"10.77.0.100", "fd77::100"}
		c.PortRules = []v1alpha1.PortRule{
			{
				Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 81}, Protocol: v1alpha1.ProtocolTCP,
				Affinity: v1alpha1.AffinityNetwork, AffinityTimeoutSeconds: new(int32(600)),
			},
			{Name: "dns", Ports: v1alpha1.PortRange{From: 53, To: 53}, VirtualIP: "fd77::100", FilteringMode: v1alpha1.FilteringModeSingle},
			{Name: "none", Ports: v1alpha1.PortRange{From: 9, To: 9}, Protocol: v1alpha1.ProtocolUDP, Affinity: v1alpha1.AffinityNone},
			{Name: "off", Ports: v1alpha1.PortRange{From: 0, To: 7}, FilteringMode: v1alpha1.FilteringModeDisabled},
		}
		c.Heartbeat = v1alpha1.Heartbeat{PeriodMilliseconds: new(int32(100)), Tolerance: new(int32(4))}
	})
}

// Hosts of different versions form one cluster by these values. One that changes splits every cluster during an upgrade: give the
// content a new version instead, as docs/design/wire.md says.
func TestGoldenDigests(t *testing.T) {
	assigned := []string{"10.77.0.100", "10.77.0.101"}
	small := config(func(_ *clusterSpec, h *hostSpec) { h.VirtualIPs = assigned })
	least := config(func(c *clusterSpec, h *hostSpec) {
		*c = clusterSpec{VirtualIPs: assigned[:1]}
		h.VirtualIPs = assigned[:1]
	})
	for name, test := range map[string]struct {
		config Config
		want   []string
	}{
		"only a virtual IP": {least, []string{
			"policy fabd9c7ec4296717",
			"host 391950d2 cluster c385014f",
			"slot 0: e4a759a4d48db8ae, mode 1, order 33, key 00000000",
			"slot 32: 6b64d2454dfea21e, mode 1, order 33, key 00000000",
		}},
		"two rules": {small, []string{
			"policy 1ece18fc412b70a3",
			"host 391950d2 cluster c385014f",
			"slot 0: 27d52786637dd063, mode 1, order 33, key 00000000",
			"slot 1: dc0c7e2f2f286663, mode 2, order 33, key 00000000",
			"slot 32: 3a68515eb8c80018, mode 1, order 33, key 00000000",
		}},
		"everything": {everything(), []string{
			"policy 991537f93cefddf6",
			"host 391950d2 cluster c385014f",
			"slot 0: d0b97490640ebab4, mode 1, order 33, key 640ebab4",
			"slot 1: ddbfe15e233bf702, mode 2, order 33, key 00000000",
			"slot 2: ed7ab1d75aa225fc, mode 1, order 33, key 00000000",
			"slot 3: 755ff8fb729098f3, mode 3, order 33, key 00000000",
			"slot 32: 6c09e2d666ea2241, mode 1, order 33, key 00000000",
		}},
	} {
		if diff := cmp.Diff(test.want, onTheWire(mustPlan(t, test.config))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// onTheWire is what peers see of a plan.
func onTheWire(p *Plan) []string {
	lines := []string{
		fmt.Sprintf("policy %016x", p.Digest),
		fmt.Sprintf("host %08x cluster %08x", p.HostKey(), p.ClusterKey()),
	}
	for _, slot := range p.UsedSlots() {
		s := &p.Slots[slot]
		lines = append(lines, fmt.Sprintf("slot %d: %016x, mode %d, order %d, key %08x", slot, s.Digest, s.Mode, s.Priority, s.Sticky))
	}
	return lines
}

// The bytes that a policy's digest is of, written out once, so that the encoding can be read.
func TestPolicyContent(t *testing.T) {
	p := mustPlan(t, config(func(c *clusterSpec, h *hostSpec) {
		c.Mode, h.VirtualIPs = v1alpha1.ModeIGMPMulticast, c.VirtualIPs
		c.PortRules[0].AffinityTimeoutSeconds, c.PortRules[0].Affinity = new(int32(300)), v1alpha1.AffinitySingle
	}))
	want := strings.Join([]string{
		"kube-wlbs policy 1\x00",
		"\x02\x02",                 // 1 mode: IGMPMulticast
		"\x05\x04\x0a\x4d\x00\x64", // 2 primary virtual IP
		"\x07\x04\x0a\x4d\x00\x64", // 3 virtual IPs assigned
		"\x07\x04\x0a\x4d\x00\x65",
		"\x09\x0f" + "\x03\x04http\x04\x50\x06\x50" + "\x08\x01" + "\x10\xac\x02", // 4 rule: name, from, to, TCP, 300 s
		"\x09\x15" + "\x03\x05admin\x04\xc0\x3e\x06\xca\x3e" + "\x0b\x04\x0a\x4d\x00\x65" + "\x0c\x01",
	}, "")
	e := newEncoder(policyContent)
	if err := p.encodePolicy(e, &p.Config.Cluster.Spec); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(e.b)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

type (
	clusterSpec = v1alpha1.LoadBalancingClusterSpec
	hostSpec    = v1alpha1.LoadBalancingHostSpec
	changeSpec  = func(*clusterSpec, *hostSpec)
)

// covered are the fields of both specs that all hosts must have in common before they may filter by them, each with a change.
var covered = map[string]changeSpec{
	"cluster.mode":       func(c *clusterSpec, _ *hostSpec) { c.Mode = v1alpha1.ModeMulticast },
	"cluster.virtualIPs": func(c *clusterSpec, _ *hostSpec) { c.VirtualIPs[0] = "10.77.0.99" },
	"host.virtualIPs":    func(_ *clusterSpec, h *hostSpec) { h.VirtualIPs = h.VirtualIPs[:1] },
	"cluster.portRules.name": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].Name = "web"
	},
	"cluster.portRules.ports.from": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].Ports.From = 79
	},
	"cluster.portRules.ports.to": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].Ports.To = 82
	},
	"cluster.portRules.protocol": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].Protocol = ""
	},
	"cluster.portRules.virtualIP": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[1].VirtualIP = ""
	},
	"cluster.portRules.filteringMode": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[1].FilteringMode = ""
	},
	"cluster.portRules.affinity": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].Affinity = ""
	},
	"cluster.portRules.affinityTimeoutSeconds": func(c *clusterSpec, _ *hostSpec) {
		c.PortRules[0].AffinityTimeoutSeconds = nil
	},
	"cluster.heartbeat.periodMilliseconds": func(c *clusterSpec, _ *hostSpec) {
		c.Heartbeat.PeriodMilliseconds = nil
	},
	"cluster.heartbeat.tolerance": func(c *clusterSpec, _ *hostSpec) {
		c.Heartbeat.Tolerance = nil
	},
}

// notCovered are the other fields: what they say of single hosts travels in heartbeats, or no peer needs it.
var notCovered = map[string]changeSpec{
	"cluster.interface":    func(c *clusterSpec, _ *hostSpec) { c.Interface = "eth1" },
	"cluster.nodeSelector": func(c *clusterSpec, _ *hostSpec) { c.NodeSelector = &metav1.LabelSelector{} },
	"cluster.tolerations": func(c *clusterSpec, _ *hostSpec) {
		c.Tolerations = []corev1.Toleration{{Key: "a"}}
	},
	"cluster.hosts": func(c *clusterSpec, _ *hostSpec) {
		c.Hosts = []v1alpha1.HostConfig{{NodeName: "node-c"}}
	},
	"cluster.drainTimeoutSeconds": func(c *clusterSpec, _ *hostSpec) {
		c.DrainTimeoutSeconds = new(int32(9))
	},
	"cluster.stallDetection.windowSeconds": func(c *clusterSpec, _ *hostSpec) {
		c.StallDetection.WindowSeconds = new(int32(9))
	},
	"cluster.stallDetection.minPackets": func(c *clusterSpec, _ *hostSpec) {
		c.StallDetection.MinPackets = new(int32(9))
	},
	"cluster.stallDetection.action": func(c *clusterSpec, _ *hostSpec) {
		c.StallDetection.Action = v1alpha1.StallActionEvict
	},
	"cluster.dataplane.hook": func(c *clusterSpec, _ *hostSpec) {
		c.Dataplane.Hook = v1alpha1.HookTCX
	},
	"cluster.dataplane.maxConnections": func(c *clusterSpec, _ *hostSpec) {
		c.Dataplane.MaxConnections = new(int32(2048))
	},
	"host.clusterName": func(_ *clusterSpec, h *hostSpec) { h.ClusterName = "other" },
	"host.nodeName":    func(_ *clusterSpec, h *hostSpec) { h.NodeName = "node-c" },
	"host.hostID":      func(_ *clusterSpec, h *hostSpec) { h.HostID = 9 },
	"host.desiredState": func(_ *clusterSpec, h *hostSpec) {
		h.DesiredState = v1alpha1.DesiredStateDrained
	},
	"host.drainTimeoutSeconds": func(_ *clusterSpec, h *hostSpec) {
		h.DrainTimeoutSeconds = new(int32(9))
	},
	"host.maintenance": func(_ *clusterSpec, h *hostSpec) {
		h.Maintenance = &v1alpha1.HostMaintenance{Reason: v1alpha1.MaintenanceNodeExcluded}
	},
	"host.rules": func(_ *clusterSpec, h *hostSpec) {
		h.Rules = []v1alpha1.HostRule{{Name: "http", LoadWeight: new(int32(7)), State: v1alpha1.RuleStateDisabled}}
	},
}

func TestDigestCoversItsFields(t *testing.T) {
	base := mustPlan(t, everything()).Digest
	change := func(apply changeSpec) uint64 {
		c := everything()
		apply(&c.Cluster.Spec, &c.Host.Spec)
		return mustPlan(t, c).Digest
	}
	for name, apply := range covered {
		if change(apply) == base {
			t.Errorf("a change of %s does not change the policy's digest", name)
		}
	}
	for name, apply := range notCovered {
		if change(apply) != base {
			t.Errorf("a change of %s changes the policy's digest", name)
		}
	}
}

// A new field of the API fails here until it is in one of the two lists above. If hosts must have it in common, give it a number
// of its own in the policy's content and leave it out at its default: then hosts of both versions agree until somebody sets it.
func TestEveryFieldIsDecided(t *testing.T) {
	var fields []string
	for prefix, spec := range map[string]any{"cluster": clusterSpec{}, "host": hostSpec{}} {
		fields = append(fields, leaves(prefix, reflect.TypeOf(spec))...)
	}
	decided := slices.Concat(slices.Collect(maps.Keys(covered)), slices.Collect(maps.Keys(notCovered)))
	for _, f := range fields {
		if !slices.ContainsFunc(decided, func(d string) bool { return f == d || strings.HasPrefix(f, d+".") }) {
			t.Errorf("%s: does a digest cover it or not?", f)
		}
	}
	for _, d := range decided {
		if !slices.ContainsFunc(fields, func(f string) bool { return f == d || strings.HasPrefix(f, d+".") }) {
			t.Errorf("%s is no field of the API", d)
		}
	}
}

// leaves returns the paths of all fields of a type that have none themselves, by their names in JSON.
func leaves(path string, of reflect.Type) []string {
	for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct {
		return []string{path}
	}
	var out []string
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			continue // a time inside of metav1.Time
		}
		out = append(out, leaves(path+"."+name, field.Type)...)
	}
	if out == nil {
		return []string{path}
	}
	return out
}

// What the user spells out and what is left to the default are the same policy.
func TestDefaultsChangeNoDigest(t *testing.T) {
	least := func(change ...changeSpec) *Plan {
		return mustPlan(t, config(append([]changeSpec{func(c *clusterSpec, _ *hostSpec) {
			*c = clusterSpec{VirtualIPs: []string{"10.77.0.100"}}
		}}, change...)...))
	}
	spelled := least(func(c *clusterSpec, h *hostSpec) {
		h.VirtualIPs = c.VirtualIPs
		c.Mode = v1alpha1.ModeMulticast
		c.PortRules = []v1alpha1.PortRule{{
			Name: v1alpha1.AllPortsRuleName, Ports: v1alpha1.PortRange{From: 0, To: 65535}, Protocol: v1alpha1.ProtocolBoth,
			FilteringMode: v1alpha1.FilteringModeMultiple, Affinity: v1alpha1.AffinitySingle,
		}}
		c.Heartbeat = v1alpha1.Heartbeat{PeriodMilliseconds: new(v1alpha1.DefaultPeriodMilliseconds), Tolerance: new(v1alpha1.DefaultTolerance)}
	})
	if diff := cmp.Diff(onTheWire(least()), onTheWire(spelled)); diff != "" {
		t.Errorf("(-unset +spelled out):\n%s", diff)
	}
}

// A word that a later version adds to the API must not pass for a default.
func TestUnknownWordsAreRefused(t *testing.T) {
	for name, change := range map[string]changeSpec{
		"mode":     func(c *clusterSpec, _ *hostSpec) { c.Mode = "Anycast" },
		"protocol": func(c *clusterSpec, _ *hostSpec) { c.PortRules[0].Protocol = "SCTP" },
		"filteringMode": func(c *clusterSpec, _ *hostSpec) {
			c.PortRules[0].FilteringMode = "Random"
		},
		"affinity": func(c *clusterSpec, _ *hostSpec) { c.PortRules[0].Affinity = "Port" },
	} {
		if _, err := New(config(change)); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "is not known to this version") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Slots with the same packets have the same digest and key wherever their rule stands.
func TestSlotDigestsFollowTheRule(t *testing.T) {
	forward := mustPlan(t, everything())
	backward := everything()
	slices.Reverse(backward.Cluster.Spec.PortRules)
	back := mustPlan(t, backward)
	for slot, name := range forward.SlotNames {
		other := slices.Index(back.SlotNames, name)
		a, b := &forward.Slots[slot], &back.Slots[other]
		if a.Digest != b.Digest || a.Sticky != b.Sticky || a.Mode != b.Mode {
			t.Errorf("rule %s: %+v, in another place %+v", name, a, b)
		}
	}
	if forward.Slots[bucket.DefaultSlot].Digest == 0 {
		t.Error("the default slot has no digest")
	}
}
