// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// TestInvalidObjectsAreRefused checks what people read in their terminal. All rules are tested in api/v1alpha1.
func TestInvalidObjectsAreRefused(t *testing.T) {
	t.Parallel()
	e := env(t)
	vip := e.nextVIP(t).String()
	for _, tc := range []struct{ name, spec, message string }{
		{"no address", `{virtualIPs: [10.0.0.300]}`,
			"a virtual IP is an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10"},
		{"no virtual IP", `{mode: Multicast}`, "spec.virtualIPs: Required value"},
		{"unknown mode", `{virtualIPs: [` + vip + `], mode: Anycast}`, `supported values: "Unicast", "Multicast", "IGMPMulticast"`},
		{"ports swapped", `{virtualIPs: [` + vip + `], portRules: [{name: a, ports: {from: 90, to: 80}}]}`,
			"from must not be greater than to: swap the two ports"},
		{"overlapping ports", `{virtualIPs: [` + vip + `], portRules: [{name: a, ports: {from: 1, to: 80}}, {name: b, ports: {from: 80, to: 90}}]}`,
			"port ranges of rules for the same virtual IP and protocol must not overlap: change the ports, protocol or virtualIP of one of them"},
		{"affinity without spreading", `{virtualIPs: [` + vip + `], portRules: [{name: a, ports: {from: 80, to: 80}, filteringMode: Disabled, affinity: None}]}`,
			"affinity only applies to filteringMode Multiple"},
		{"one host ID twice", `{virtualIPs: [` + vip + `], hosts: [{nodeName: a, hostID: 1}, {nodeName: b, hostID: 1}]}`,
			"each hostID may be given to one host: change one of them"},
		{"unknown field", `{virtualIPs: [` + vip + `], porstRules: []}`, `unknown field "spec.porstRules"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			mustBeRefused(t, e, tc.spec, tc.message)
		})
	}
}

func mustBeRefused(t *testing.T, e *environment, spec, message string) {
	t.Helper()
	c := &vipCluster{environment: e, name: "refused"}
	t.Cleanup(func() { c.remove(t) })
	manifest := "apiVersion: wlbs.dev/v1alpha1\nkind: LoadBalancingCluster\nmetadata: {name: refused}\nspec: " + spec + "\n"
	_, err := kubectl(t.Context(), manifest, "apply", "-f", "-")
	if err == nil || !strings.Contains(err.Error(), message) {
		t.Errorf("kubectl apply says: %v\nwant: %s", err, message)
	}
	if _, err := c.get(t.Context()); !apierrors.IsNotFound(err) {
		t.Errorf("get: %v, want NotFound", err)
	}
}

// TestVirtualIPIsImmutable changes what clients and routers know by its address.
func TestVirtualIPIsImmutable(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "immutable", selecting(testLabel, "nobody"))
	_, err := kubectl(t.Context(), "", "patch", "lbc", c.name, "--type=merge", "-p", `{"spec":{"virtualIPs":["`+c.nextVIP(t).String()+`"]}}`)
	if err == nil || !strings.Contains(err.Error(), "the primary virtual IP, the first of virtualIPs, is immutable") {
		t.Errorf("kubectl patch says: %v", err)
	}
}
