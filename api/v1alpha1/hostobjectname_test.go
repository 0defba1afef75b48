// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/validation"
)

func TestHostObjectName(t *testing.T) {
	if got := HostObjectName("web", "node-a.example.com"); got != "web.node-a.example.com" {
		t.Errorf("name is %s", got)
	}
	cluster := strings.Repeat("c", 40)
	seen := map[string]string{}
	for length := 200; length <= 253; length++ {
		for _, last := range []string{"x", "y"} {
			// Dots at every third place, so that the cut falls beside one for some length.
			node := strings.Repeat("n1.", 85)[:length-1] + last
			if strings.Contains(node, ".."+last) {
				continue
			}
			name := HostObjectName(cluster, node)
			if errs := validation.NameIsDNSSubdomain(name, false); len(errs) != 0 {
				t.Errorf("name of a node with %d characters: %s: %v", length, name, errs)
			}
			if other, dup := seen[name]; dup {
				t.Errorf("%s and %s have one name", node, other)
			}
			seen[name] = node
		}
	}
}

func TestHostConfigOf(t *testing.T) {
	spec := &LoadBalancingClusterSpec{Hosts: []HostConfig{{NodeName: "node-a", HostID: new(int32(4))}}}
	if diff := cmp.Diff(HostConfig{NodeName: "node-a", HostID: new(int32(4))}, spec.HostConfigOf("node-a")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(HostConfig{NodeName: "node-b"}, spec.HostConfigOf("node-b")); diff != "" {
		t.Error(diff)
	}
}

func TestClusterMACOfNothing(t *testing.T) {
	if got := ClusterMAC(ModeMulticast, netip.Addr{}); got != nil {
		t.Errorf("MAC of no address is %s", got)
	}
	if got := ClusterMAC("Anycast", netip.MustParseAddr("10.1.2.3")); got != nil {
		t.Errorf("MAC of an unknown mode is %s", got)
	}
	if got := ClusterMAC(ModeMulticast, netip.MustParseAddr("::ffff:10.1.2.3")).String(); got != "03:bf:0a:01:02:03" {
		t.Errorf("MAC of an IPv4-mapped address is %s", got)
	}
}
