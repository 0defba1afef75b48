// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// createCase is an object that is refused when wantError is set, and accepted otherwise.
type createCase struct {
	name      string
	object    string
	wantError string
}

func TestClusterValidationOnCreate(t *testing.T) {
	c := newClient(t)
	for _, tc := range clusterCases() {
		t.Run(tc.name, func(t *testing.T) { checkCreate(t, c, tc) })
	}
}

func TestHostValidationOnCreate(t *testing.T) {
	c := newClient(t)
	for _, tc := range hostCases() {
		t.Run(tc.name, func(t *testing.T) { checkCreate(t, c, tc) })
	}
}

func checkCreate(t *testing.T, c client.Client, tc createCase) {
	t.Helper()
	err := c.Create(t.Context(), parse(t, tc.object), client.DryRunAll)
	switch {
	case tc.wantError == "" && err != nil:
		t.Errorf("valid object refused: %v", err)
	case tc.wantError != "" && err == nil:
		t.Errorf("invalid object accepted, want an error with %q", tc.wantError)
	case tc.wantError != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.wantError)):
		t.Errorf("error %q does not say %q", err, tc.wantError)
	}
}

func parse(t *testing.T, object string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(object), &u.Object); err != nil {
		t.Fatalf("test object: %v\n%s", err, object)
	}
	return u
}

// named is a LoadBalancingCluster of that name with the given lines of spec.
func named(name string, spec ...string) string {
	return fmt.Sprintf("{apiVersion: wlbs.dev/v1alpha1, kind: LoadBalancingCluster, metadata: {name: %q}, spec: {%s}}",
		name, strings.Join(spec, ", "))
}

// cluster is a LoadBalancingCluster with one virtual IP and the given lines of spec.
func cluster(spec ...string) string {
	return named("web", append([]string{"virtualIPs: [192.0.2.10]"}, spec...)...)
}

func vips(addresses ...string) string {
	return named("web", fmt.Sprintf("virtualIPs: ['%s']", strings.Join(addresses, "','")))
}

func rules(rules ...string) string {
	return cluster(portRules(rules...))
}

func portRules(rules ...string) string {
	return fmt.Sprintf("portRules: [%s]", strings.Join(rules, ", "))
}

func repeat(n int, item func(i int) string) string {
	items := make([]string, n)
	for i := range items {
		items[i] = item(i)
	}
	return strings.Join(items, ", ")
}

func clusterCases() []createCase {
	tooLong := strings.Repeat("a", 41)
	return []createCase{
		{"minimal", cluster(), ""},
		{"without virtual IPs", named("web", "mode: Multicast"), "spec.virtualIPs: Required value"},
		{"empty virtual IPs", named("web", "virtualIPs: []"), "should have at least 1 items"},
		{"name of 40 characters", named(tooLong[:40], "virtualIPs: [192.0.2.10]"), ""},
		{"name of 41 characters", named(tooLong, "virtualIPs: [192.0.2.10]"), "at most 40 characters"},
		{"name with a dot", named("web.a", "virtualIPs: [192.0.2.10]"), "must not contain '.'"},

		{"unknown mode", cluster("mode: Anycast"), `supported values: "Unicast", "Multicast", "IGMPMulticast"`},
		{"known mode", cluster("mode: IGMPMulticast"), ""},

		{"IPv4 and IPv6", vips("192.0.2.10", "2001:db8::10"), ""},
		{"32 virtual IPs", named("web", "virtualIPs: ["+repeat(32, func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) })+"]"), ""},
		{"33 virtual IPs", named("web", "virtualIPs: ["+repeat(33, func(i int) string { return fmt.Sprintf("192.0.2.%d", i+1) })+"]"), "must have at most 32 items"},
		{"no address", vips("web.example"), "a virtual IP is an IPv4 or IPv6 address"},
		{"with prefix length", vips("192.0.2.10/24"), "without prefix length"},
		{"IPv4-mapped", vips("::ffff:192.0.2.10"), "IPv4-mapped"},
		{"with zone", vips("fe80::1%eth0"), "zone"},
		{"not canonical", vips("2001:DB8::10"), "canonical form"},
		{"not canonical, zeros", vips("2001:db8:0::10"), "canonical form"},
		{"unspecified IPv4", vips("0.0.0.0"), "must not be an unspecified or loopback address"},
		{"this network", vips("0.0.0.7"), "must not be an unspecified or loopback address"},
		{"unspecified IPv6", vips("::"), "must not be an unspecified or loopback address"},
		{"loopback IPv4", vips("127.0.0.53"), "must not be an unspecified or loopback address"},
		{"loopback IPv6", vips("::1"), "must not be an unspecified or loopback address"},
		{"multicast IPv4", vips("239.255.0.1"), "must not be a multicast, broadcast or link-local address"},
		{"multicast IPv6", vips("ff02::1"), "must not be a multicast, broadcast or link-local address"},
		{"broadcast", vips("255.255.255.255"), "must not be a multicast, broadcast or link-local address"},
		{"link-local IPv4", vips("169.254.1.1"), "must not be a multicast, broadcast or link-local address"},
		{"link-local IPv6", vips("fe80::1"), "must not be a multicast, broadcast or link-local address"},
		{"second virtual IP invalid", vips("192.0.2.10", "127.0.0.1"), "virtualIPs[1]"},
		{"duplicate virtual IP", vips("192.0.2.10", "192.0.2.11", "192.0.2.10"), "may be listed once"},

		{"interface", cluster("interface: enp0s31f6.100"), ""},
		{"interface of 16 characters", cluster("interface: enp0s31f6.1000ab"), "may not be more than 15 bytes"},
		{"interface with slash", cluster("interface: eth/0"), "an interface name has"},
		{"interface with space", cluster("interface: 'eth 0'"), "an interface name has"},
		{"interface dot", cluster("interface: ."), "an interface name has"},

		{"heartbeat bounds low", cluster("heartbeat: {periodMilliseconds: 50, tolerance: 3}"), ""},
		{"heartbeat bounds high", cluster("heartbeat: {periodMilliseconds: 10000, tolerance: 100}"), ""},
		{"period too short", cluster("heartbeat: {periodMilliseconds: 49}"), "greater than or equal to 50"},
		{"period too long", cluster("heartbeat: {periodMilliseconds: 10001}"), "less than or equal to 10000"},
		{"tolerance too low", cluster("heartbeat: {tolerance: 2}"), "greater than or equal to 3"},
		{"tolerance too high", cluster("heartbeat: {tolerance: 101}"), "less than or equal to 100"},
		{"stall detection", cluster("stallDetection: {windowSeconds: 300, minPackets: 1, action: Evict}"), ""},
		{"stall window 0", cluster("stallDetection: {windowSeconds: 0}"), "greater than or equal to 1"},
		{"stall window too long", cluster("stallDetection: {windowSeconds: 301}"), "less than or equal to 300"},
		{"stall minPackets 0", cluster("stallDetection: {minPackets: 0}"), "greater than or equal to 1"},
		{"stall action", cluster("stallDetection: {action: Reboot}"), `supported values: "Report", "Evict"`},
		{"dataplane", cluster("dataplane: {hook: TCX, maxConnections: 1024}"), ""},
		{"hook", cluster("dataplane: {hook: Netfilter}"), `supported values: "Auto", "XDP", "TCX"`},
		{"too few connections", cluster("dataplane: {maxConnections: 1023}"), "greater than or equal to 1024"},
		{"too many connections", cluster("dataplane: {maxConnections: 16777217}"), "less than or equal to 16777216"},

		{"rule", rules("{name: http, ports: {from: 80, to: 80}}"), ""},
		{"rule with everything", rules("{name: http, ports: {from: 0, to: 65535}, protocol: TCP, virtualIP: 192.0.2.10, filteringMode: Multiple, affinity: Network, affinityTimeoutSeconds: 14400}"), ""},
		{"no rules", cluster("portRules: []"), "should have at least 1 items"},
		{"rule without name", rules("{ports: {from: 80, to: 80}}"), "name: Required value"},
		{"rule without ports", rules("{name: http}"), "ports: Required value"},
		{"rule without from", rules("{name: http, ports: {to: 80}}"), "ports.from: Required value"},
		{"rule without to", rules("{name: http, ports: {from: 80}}"), "ports.to: Required value"},
		{"rule name upper case", rules("{name: HTTP, ports: {from: 80, to: 80}}"), "a rule's name consists of"},
		{"rule name default", rules("{name: default, ports: {from: 80, to: 80}}"), "choose another name"},
		{"rule name of 64 characters", rules("{name: " + strings.Repeat("a", 64) + ", ports: {from: 80, to: 80}}"), "may not be more than 63 bytes"},
		{"duplicate rule name", rules("{name: http, ports: {from: 80, to: 80}}", "{name: http, ports: {from: 81, to: 81}}"), "Duplicate value"},
		{"ports out of order", rules("{name: http, ports: {from: 81, to: 80}}"), "from must not be greater than to: swap"},
		{"port negative", rules("{name: http, ports: {from: -1, to: 80}}"), "greater than or equal to 0"},
		{"port too high", rules("{name: http, ports: {from: 80, to: 65536}}"), "less than or equal to 65535"},
		{"protocol", rules("{name: http, ports: {from: 80, to: 80}, protocol: SCTP}"), `supported values: "TCP", "UDP", "Both"`},
		{"filteringMode", rules("{name: http, ports: {from: 80, to: 80}, filteringMode: Some}"), `supported values: "Multiple", "Single", "Disabled"`},
		{"affinity", rules("{name: http, ports: {from: 80, to: 80}, affinity: ClassC}"), `supported values: "None", "Single", "Network"`},
		{"affinity with Single", rules("{name: http, ports: {from: 80, to: 80}, filteringMode: Single, affinity: None}"), "remove affinity, or set filteringMode to Multiple"},
		{"affinity with Disabled", rules("{name: http, ports: {from: 80, to: 80}, filteringMode: Disabled, affinity: Single}"), "remove affinity, or set filteringMode to Multiple"},
		{"affinity timeout with default affinity", rules("{name: http, ports: {from: 80, to: 80}, affinityTimeoutSeconds: 1}"), ""},
		{"affinity timeout 0", rules("{name: http, ports: {from: 80, to: 80}, affinityTimeoutSeconds: 0}"), "greater than or equal to 1"},
		{"affinity timeout too long", rules("{name: http, ports: {from: 80, to: 80}, affinityTimeoutSeconds: 14401}"), "less than or equal to 14400"},
		{"affinity timeout with None", rules("{name: http, ports: {from: 80, to: 80}, affinity: None, affinityTimeoutSeconds: 600}"), "affinityTimeoutSeconds needs filteringMode Multiple and affinity Single or Network"},
		{"affinity timeout with Single mode", rules("{name: http, ports: {from: 80, to: 80}, filteringMode: Single, affinityTimeoutSeconds: 600}"), "affinityTimeoutSeconds needs filteringMode Multiple"},
		{"rule for a virtual IP that is not listed", rules("{name: http, ports: {from: 80, to: 80}, virtualIP: 192.0.2.11}"), "must be one of virtualIPs, written as there"},
		{"32 rules", rules(repeat(32, func(i int) string { return fmt.Sprintf("{name: r%d, ports: {from: %d, to: %d}}", i, i, i) })), ""},
		{"33 rules", rules(repeat(33, func(i int) string { return fmt.Sprintf("{name: r%d, ports: {from: %d, to: %d}}", i, i, i) })), "must have at most 32 items"},

		{"adjacent ranges", rules("{name: a, ports: {from: 80, to: 89}}", "{name: b, ports: {from: 90, to: 99}}"), ""},
		{"overlap at one port", rules("{name: a, ports: {from: 80, to: 90}}", "{name: b, ports: {from: 90, to: 99}}"), "must not overlap"},
		{"overlap inside", rules("{name: a, ports: {from: 0, to: 65535}}", "{name: c, ports: {from: 443, to: 443}, protocol: UDP}", "{name: b, ports: {from: 80, to: 80}, protocol: TCP}"), "must not overlap"},
		{"same ports, other protocol", rules("{name: a, ports: {from: 53, to: 53}, protocol: TCP}", "{name: b, ports: {from: 53, to: 53}, protocol: UDP}"), ""},
		{"overlap with Both", rules("{name: a, ports: {from: 53, to: 53}, protocol: TCP}", "{name: b, ports: {from: 53, to: 53}, protocol: Both}"), "must not overlap"},
		{"rule for one virtual IP over a rule for all", rules("{name: a, ports: {from: 0, to: 65535}}", "{name: b, ports: {from: 80, to: 80}, virtualIP: 192.0.2.10}"), ""},
		{"overlap on one virtual IP", rules("{name: a, ports: {from: 0, to: 99}, virtualIP: 192.0.2.10}", "{name: b, ports: {from: 80, to: 80}, virtualIP: 192.0.2.10}"), "must not overlap"},
		{"same ports on two virtual IPs", named("web", "virtualIPs: [192.0.2.10, 192.0.2.11]",
			portRules("{name: a, ports: {from: 80, to: 80}, virtualIP: 192.0.2.10}", "{name: b, ports: {from: 80, to: 80}, virtualIP: 192.0.2.11}")), ""},

		{"host", cluster("hosts: [{nodeName: node-a, hostID: 1, desiredState: Stopped, rules: [{name: all, loadWeight: 0, handlingPriority: 32, state: Drained}]}]"), ""},
		{"32 hosts", cluster("hosts: [" + repeat(32, func(i int) string { return fmt.Sprintf("{nodeName: node-%d, hostID: %d}", i, i+1) }) + "]"), ""},
		{"33 hosts", cluster("hosts: [" + repeat(33, func(i int) string { return fmt.Sprintf("{nodeName: node-%d}", i) }) + "]"), "must have at most 32 items"},
		{"host without nodeName", cluster("hosts: [{hostID: 1}]"), "nodeName: Required value"},
		{"duplicate nodeName", cluster("hosts: [{nodeName: node-a}, {nodeName: node-a, hostID: 2}]"), "Duplicate value"},
		{"hostID 0", cluster("hosts: [{nodeName: node-a, hostID: 0}]"), "greater than or equal to 1"},
		{"hostID 33", cluster("hosts: [{nodeName: node-a, hostID: 33}]"), "less than or equal to 32"},
		{"duplicate hostID", cluster("hosts: [{nodeName: node-a, hostID: 1}, {nodeName: node-b}, {nodeName: node-c, hostID: 1}]"), "each hostID may be given to one host"},
		{"duplicate handlingPriority", cluster(portRules("{name: db, ports: {from: 5432, to: 5432}, filteringMode: Single}", "{name: web, ports: {from: 80, to: 80}}"),
			"hosts: [{nodeName: node-a, rules: [{name: db, handlingPriority: 1}]}, {nodeName: node-b}, {nodeName: node-c, rules: [{name: web, handlingPriority: 1}, {name: db, handlingPriority: 1}]}]"),
			"hosts must not have the same handlingPriority"},
		{"handlingPriority of its own each, or of another rule", cluster(portRules("{name: db, ports: {from: 5432, to: 5432}, filteringMode: Single}", "{name: web, ports: {from: 80, to: 80}}"),
			"hosts: [{nodeName: node-a, rules: [{name: db, handlingPriority: 1}, {name: web, handlingPriority: 2}]}, {nodeName: node-b, rules: [{name: db}]}, {nodeName: node-c, rules: [{name: db, handlingPriority: 2}, {name: web, handlingPriority: 2}]}]"), ""},
		{"desiredState", cluster("hosts: [{nodeName: node-a, desiredState: Paused}]"), `supported values: "Started", "Stopped", "Drained", "Suspended"`},
		{"drain with a limit", cluster("hosts: [{nodeName: node-a, desiredState: Drained, drainTimeoutSeconds: 86400}]"), ""},
		{"limit of a drain too long", cluster("hosts: [{nodeName: node-a, desiredState: Drained, drainTimeoutSeconds: 86401}]"), "less than or equal to 86400"},
		{"limit of a drain 0", cluster("hosts: [{nodeName: node-a, desiredState: Drained, drainTimeoutSeconds: 0}]"), "greater than or equal to 1"},
		{"limit of all drains", cluster("drainTimeoutSeconds: 86400"), ""},
		{"limit of all drains 0", cluster("drainTimeoutSeconds: 0"), "greater than or equal to 1"},
		{"limit of no drain", cluster("hosts: [{nodeName: node-a, drainTimeoutSeconds: 60}]"), "drainTimeoutSeconds needs desiredState Drained"},
		{"weight 100", cluster("hosts: [{nodeName: node-a, rules: [{name: all, loadWeight: 100}]}]"), ""},
		{"weight 101", cluster("hosts: [{nodeName: node-a, rules: [{name: all, loadWeight: 101}]}]"), "less than or equal to 100"},
		{"weight negative", cluster("hosts: [{nodeName: node-a, rules: [{name: all, loadWeight: -1}]}]"), "greater than or equal to 0"},
		{"priority 0", cluster("hosts: [{nodeName: node-a, rules: [{name: all, handlingPriority: 0}]}]"), "greater than or equal to 1"},
		{"priority 33", cluster("hosts: [{nodeName: node-a, rules: [{name: all, handlingPriority: 33}]}]"), "less than or equal to 32"},
		{"rule state", cluster("hosts: [{nodeName: node-a, rules: [{name: all, state: Off}]}]"), `supported values: "Enabled", "Disabled", "Drained"`},
		{"host rule exists", cluster(portRules("{name: http, ports: {from: 80, to: 80}}"), "hosts: [{nodeName: node-a, rules: [{name: http}]}]"), ""},
		{"host rule does not exist", cluster(portRules("{name: http, ports: {from: 80, to: 80}}"), "hosts: [{nodeName: node-a, rules: [{name: https}]}]"), "must be the name of a rule in portRules"},
		{"host rule all beside port rules", cluster(portRules("{name: http, ports: {from: 80, to: 80}}"), "hosts: [{nodeName: node-a, rules: [{name: all}]}]"), "must be the name of a rule in portRules"},
		{"duplicate host rule", cluster("hosts: [{nodeName: node-a, rules: [{name: all}, {name: all}]}]"), "Duplicate value"},
		{"largest spec", largestCluster(), ""},
	}
}

// largestCluster fills every list to its limit: the rules' cost must stay within the API server's budget even then.
func largestCluster() string {
	rule := func(i int) string { return fmt.Sprintf("rule-%02d-%s", i, strings.Repeat("x", 55)) }
	hostRules := "rules: [" + repeat(32, func(i int) string { return fmt.Sprintf("{name: %s, loadWeight: %d}", rule(i), i) }) + "]"
	return named("web",
		"virtualIPs: ["+repeat(32, func(i int) string { return fmt.Sprintf("'2001:db8:aaaa:bbbb:cccc:dddd:eeee:%d'", i+1) })+"]",
		portRules(repeat(32, func(i int) string {
			return fmt.Sprintf("{name: %s, ports: {from: %d, to: %d}, protocol: TCP, virtualIP: '2001:db8:aaaa:bbbb:cccc:dddd:eeee:32'}", rule(i), i*10, i*10+9)
		})),
		"hosts: ["+repeat(32, func(i int) string {
			return fmt.Sprintf("{nodeName: %s-%d, hostID: %d, %s}", strings.Repeat("n", 200), i, i+1, hostRules)
		})+"]",
	)
}

func host(name, spec string) string {
	return fmt.Sprintf("{apiVersion: wlbs.dev/v1alpha1, kind: LoadBalancingHost, metadata: {name: %q}, spec: {%s}}", name, spec)
}

func hostCases() []createCase {
	return []createCase{
		{"valid", host("web.node-a", "clusterName: web, nodeName: node-a, hostID: 1"), ""},
		{"with rules", host("web.node-a", "clusterName: web, nodeName: node-a, hostID: 32, desiredState: Drained, rules: [{name: http, loadWeight: 10}]"), ""},
		{"without cluster", host("web.node-a", "nodeName: node-a, hostID: 1"), "clusterName: Required value"},
		{"without node", host("web.node-a", "clusterName: web, hostID: 1"), "nodeName: Required value"},
		{"without ID", host("web.node-a", "clusterName: web, nodeName: node-a"), "hostID: Required value"},
		{"ID 0", host("web.node-a", "clusterName: web, nodeName: node-a, hostID: 0"), "greater than or equal to 1"},
		{"ID 33", host("web.node-a", "clusterName: web, nodeName: node-a, hostID: 33"), "less than or equal to 32"},
		{"name of another cluster", host("mail.node-a", "clusterName: web, nodeName: node-a, hostID: 1"), "is named <cluster>.<node>"},
	}
}

// updateCase is a change that is refused when wantError is set, and accepted otherwise.
type updateCase struct {
	name, before, after, wantError string
}

func updateCases() []updateCase {
	return []updateCase{
		{"mode set to the default", named("update-a", "virtualIPs: [192.0.2.10]"), named("update-a", "virtualIPs: [192.0.2.10]", "mode: Multicast"), ""},
		{"mode changed", named("update-b", "virtualIPs: [192.0.2.10]"), named("update-b", "virtualIPs: [192.0.2.10]", "mode: Unicast"), "mode is immutable"},
		{"mode removed", named("update-c", "virtualIPs: [192.0.2.10]", "mode: Unicast"), named("update-c", "virtualIPs: [192.0.2.10]"), "mode is immutable"},
		{"virtual IP added", named("update-d", "virtualIPs: [192.0.2.10]"), named("update-d", "virtualIPs: [192.0.2.10, 192.0.2.9]"), ""},
		{"primary virtual IP changed", named("update-e", "virtualIPs: [192.0.2.10]"), named("update-e", "virtualIPs: [192.0.2.9, 192.0.2.10]"), "the primary virtual IP, the first of virtualIPs, is immutable"},
		{"node of a host changed", host("web.update-f", "clusterName: web, nodeName: update-f, hostID: 1"), host("web.update-f", "clusterName: web, nodeName: other, hostID: 1"), "nodeName is immutable"},
		{"cluster of a host changed", host("web.update-g", "clusterName: web, nodeName: update-g, hostID: 1"), host("web.update-g", "clusterName: mail, nodeName: update-g, hostID: 1"), "clusterName is immutable"},
		{"ID of a host changed", host("web.update-h", "clusterName: web, nodeName: update-h, hostID: 1"), host("web.update-h", "clusterName: web, nodeName: update-h, hostID: 2"), ""},
		// A suspended host refuses all commands but resume, which leaves it stopped.
		{"suspended host resumed", inState("update-i", "Suspended"), inState("update-i", "Stopped"), ""},
		{"suspended host left alone", inState("update-j", "Suspended"), inState("update-j", "Suspended, hostID: 3"), ""},
		{"suspended host started", inState("update-k", "Suspended"), inState("update-k", "Started"), "host node-a is suspended and refuses control commands: resume it first by desiredState Stopped"},
		{"suspended host drained", inState("update-l", "Suspended"), inState("update-l", "Drained"), "host node-a is suspended"},
		{"suspended host's state removed", inState("update-m", "Suspended"), named("update-m", "virtualIPs: [192.0.2.10]", "hosts: [{nodeName: node-a}]"), "host node-a is suspended"},
		{"suspended host's entry removed", inState("update-n", "Suspended"), named("update-n", "virtualIPs: [192.0.2.10]", "hosts: [{nodeName: node-b}]"), "the entry of a suspended host must not be removed"},
		{"suspended host's entry removed with all", inState("update-o", "Suspended"), named("update-o", "virtualIPs: [192.0.2.10]"), "hosts holds a suspended host"},
		{"stopped host started", inState("update-p", "Stopped"), inState("update-p", "Started"), ""},
		{"stopped host's entry removed", inState("update-q", "Stopped"), named("update-q", "virtualIPs: [192.0.2.10]"), ""},
		{"host suspended", inState("update-r", "Drained"), inState("update-r", "Suspended"), ""},
	}
}

func TestClusterValidationOnUpdate(t *testing.T) {
	c := newClient(t)
	for _, tc := range updateCases() {
		t.Run(tc.name, func(t *testing.T) {
			before := parse(t, tc.before)
			if err := c.Create(t.Context(), before); err != nil {
				t.Fatal(err)
			}
			after := parse(t, tc.after)
			after.SetResourceVersion(before.GetResourceVersion())
			err := c.Update(t.Context(), after, client.DryRunAll)
			if deleteErr := c.Delete(t.Context(), before); deleteErr != nil {
				t.Error(deleteErr)
			}
			checkChange(t, tc, err)
		})
	}
}

func checkChange(t *testing.T, tc updateCase, err error) {
	t.Helper()
	switch {
	case tc.wantError == "" && err != nil:
		t.Errorf("valid change refused: %v", err)
	case tc.wantError != "" && err == nil:
		t.Errorf("invalid change accepted, want an error with %q", tc.wantError)
	case tc.wantError != "" && !strings.Contains(err.Error(), tc.wantError):
		t.Errorf("error %q does not say %q", err, tc.wantError)
	}
}

// inState is a cluster with one entry in spec.hosts.
func inState(name, state string) string {
	return named(name, "virtualIPs: [192.0.2.10]", "hosts: [{nodeName: node-a, desiredState: "+state+"}]")
}
