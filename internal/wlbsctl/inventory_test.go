// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// testInventory has clusters web (hosts 1 to 3 on node-a to node-c), db (hosts 1 and 2 on node-c and web) and node-z
// without hosts: names that collide as names do.
func testInventory() *inventory {
	inv := &inventory{}
	add := func(name string, vips []string, nodes ...string) {
		c := v1alpha1.LoadBalancingCluster{Spec: v1alpha1.LoadBalancingClusterSpec{VirtualIPs: vips}}
		c.Name = name
		inv.clusters = append(inv.clusters, c)
		for i, node := range nodes {
			h := v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: name, NodeName: node,
				HostID: int32(i + 1)}}
			h.Name = v1alpha1.HostObjectName(name, node)
			inv.hosts = append(inv.hosts, h)
		}
	}
	add("db", []string{"fd00::100"}, "node-c", "web")
	add("node-z", []string{"10.0.0.9"})
	add("web", []string{"10.0.0.1", "fd00::1"}, "node-a", "node-b", "node-c")
	return inv
}

func TestSelectHosts(t *testing.T) {
	for _, test := range []struct {
		targets string
		want    string
		code    int
		message string
	}{
		{targets: "db", want: "db:1 db:2"},
		{targets: "cluster/web", want: "web:1 web:2 web:3"},
		{targets: "lbc/web", want: "web:1 web:2 web:3"},
		{targets: "10.0.0.1", want: "web:1 web:2 web:3"},
		{targets: "fd00::1", want: "web:1 web:2 web:3"},
		{targets: "FD00:0::1", want: "web:1 web:2 web:3"},
		{targets: "[fd00::1]", want: "web:1 web:2 web:3"},
		{targets: "[fd00::100]:2", want: "db:2"},
		{targets: "10.0.0.1:node-b", want: "web:2"},
		{targets: "web:2", want: "web:2"},
		{targets: "web:node-c", want: "web:3"},
		{targets: "web.node-b", want: "web:2"},
		{targets: "node-a", want: "web:1"},
		{targets: "node-c", want: "db:1 web:3"},
		{targets: "node/web", want: "db:2"},
		{targets: "web:3 node-a web:1 db:2", want: "db:2 web:1 web:3"},

		{targets: "web", code: ExitUsage, message: "cluster/web, node/web"},
		{targets: "2", code: ExitUsage, message: "needs its cluster, as in db:2"},
		{targets: "web:4", code: ExitNotFound, message: "it has: 1 (node-a), 2 (node-b), 3 (node-c)"},
		{targets: "web:node-z", code: ExitNotFound, message: "has no host node-z"},
		{targets: "shop:1", code: ExitNotFound, message: "there are: db, node-z, web"},
		{targets: "shop", code: ExitNotFound, message: "no cluster, node or host ID"},
		{targets: "33", code: ExitNotFound, message: "no cluster, node or host ID"},
		{targets: "10.0.0.2", code: ExitNotFound, message: "no cluster 10.0.0.2"},
		{targets: "node/shop", code: ExitNotFound, message: "not a host of any cluster"},
		{targets: "cluster/node-z", code: ExitNotFound, message: "has no hosts"},
		{targets: "web:", code: ExitUsage, message: "not CLUSTER:HOST"},
		{targets: ":2", code: ExitUsage, message: "not CLUSTER:HOST"},
		{targets: "web:1:2", code: ExitUsage, message: "not CLUSTER:HOST"},
		{targets: "[fd00::1", code: ExitUsage, message: "closing bracket"},
		{targets: "[fd00::1]2", code: ExitUsage, message: "colon must follow"},
		{targets: "node/", code: ExitUsage, message: "names nothing"},
		{targets: "pod/web", code: ExitUsage, message: "neither cluster nor node"},
	} {
		t.Run(test.targets, func(t *testing.T) {
			hosts, err := testInventory().selectHosts(strings.Fields(test.targets))
			if code := codeOf(err); code != test.code || err != nil && !strings.Contains(err.Error(), test.message) {
				t.Fatalf("exit code %d and %v, want %d and %q", code, err, test.code, test.message)
			}
			var names []string
			for _, h := range hosts {
				names = append(names, h.cluster.Name+":"+strconv.Itoa(int(h.host.Spec.HostID)))
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("hosts %s, want %s", got, test.want)
			}
		})
	}
}

func TestHostIDAloneWithOneCluster(t *testing.T) {
	inv := testInventory()
	inv.clusters = inv.clusters[2:]
	hosts, err := inv.selectHosts([]string{"2"})
	if err != nil || len(hosts) != 1 || hosts[0].host.Spec.NodeName != "node-b" {
		t.Errorf("hosts %v, %v", hosts, err)
	}
}

func TestEmptyTargetIsRefused(t *testing.T) {
	if _, err := testInventory().selectHosts([]string{""}); codeOf(err) != ExitUsage {
		t.Errorf("error %v", err)
	}
}

// Whatever is typed is found, or refused with a reason.
func TestSelectHostsIsTotal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target := rapid.StringMatching(`[a-z0-9:/\[\]. -]{0,12}`).Draw(t, "target")
		hosts, err := testInventory().selectHosts([]string{target})
		if (err == nil) != (len(hosts) > 0) {
			t.Fatalf("%q: %v, %v", target, hosts, err)
		}
		if code := codeOf(err); err != nil && code != ExitUsage && code != ExitNotFound {
			t.Fatalf("%q: exit code %d", target, code)
		}
	})
}

func portCluster() *v1alpha1.LoadBalancingCluster {
	c := &v1alpha1.LoadBalancingCluster{Spec: v1alpha1.LoadBalancingClusterSpec{
		VirtualIPs: []string{"10.0.0.1", "fd00::1"},
		PortRules: []v1alpha1.PortRule{
			{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 89}, Protocol: v1alpha1.ProtocolTCP},
			{Name: "http6", Ports: v1alpha1.PortRange{From: 80, To: 80}, Protocol: v1alpha1.ProtocolTCP, VirtualIP: "fd00::1"},
			{Name: "dns-udp", Ports: v1alpha1.PortRange{From: 53, To: 53}, Protocol: v1alpha1.ProtocolUDP},
			{Name: "dns-tcp", Ports: v1alpha1.PortRange{From: 53, To: 53}, Protocol: v1alpha1.ProtocolTCP},
			{Name: "blocked", Ports: v1alpha1.PortRange{From: 8000, To: 8999}, FilteringMode: v1alpha1.FilteringModeDisabled},
		},
	}}
	c.Name = "web"
	return c
}

func TestPortRules(t *testing.T) {
	for _, test := range []struct {
		port, want string
		code       int
		message    string
	}{
		{port: "80", want: "http http6"},
		{port: "89", want: "http"},
		{port: "53", want: "dns-udp dns-tcp"},
		{port: "ALL", want: "http http6 dns-udp dns-tcp"},
		{port: "all", want: "http http6 dns-udp dns-tcp"},
		{port: "ALL:ALL", want: "http http6 dns-udp dns-tcp"},
		{port: "ALL:80", want: "http"},
		{port: "[fd00::1]:80", want: "http6"},
		{port: "[FD00:0::1]:ALL", want: "http6"},
		{port: "dns-udp", want: "dns-udp"},

		{port: "79", code: ExitNoRule, message: "no rule of cluster web contains port 79 (WLBS event 25)"},
		{port: "10.0.0.1:80", code: ExitNoRule, message: "rule http contains it for all virtual IPs (WLBS event 25)"},
		{port: "10.0.0.1:ALL", code: ExitNoRule, message: "no rule for 10.0.0.1:ALL"},
		{port: "8080", code: ExitNoRule, message: "rule blocked of cluster web has filteringMode Disabled"},
		{port: "https", code: ExitNoRule, message: "no rule https"},
		{port: "65536", code: ExitUsage, message: "not a port"},
		{port: "-1", code: ExitUsage, message: "not a port"},
		{port: "", code: ExitUsage, message: "not a port"},
		{port: "web:80", code: ExitUsage, message: "not an IP address or ALL"},
		{port: "10.0.0.1:http", code: ExitUsage, message: "not a port"},
		{port: "fd00::1:80", code: ExitUsage, message: "not an IP address"},
	} {
		t.Run(test.port, func(t *testing.T) {
			port, err := parsePort(test.port)
			var rules []v1alpha1.PortRule
			if err == nil {
				rules, err = port.rules(portCluster())
			}
			if code := codeOf(err); code != test.code || err != nil && !strings.Contains(err.Error(), test.message) {
				t.Fatalf("exit code %d and %v, want %d and %q", code, err, test.code, test.message)
			}
			names := make([]string, len(rules))
			for i := range rules {
				names[i] = rules[i].Name
			}
			if got := strings.Join(names, " "); got != test.want {
				t.Errorf("rules %s, want %s", got, test.want)
			}
		})
	}
}

// The words are those of the events 23, 24, 39 and 41 to 43 of WLBS.
func TestRuleWords(t *testing.T) {
	for _, test := range []struct{ command, port, want string }{
		{"enable", "80", "enabled traffic handling for rule containing port 80 (rules http, http6)"},
		{"disable", "89", "disabled ALL traffic handling for rule containing port 89 (rule http)"},
		{"drain", "ALL:80", "disabled NEW traffic handling for rule containing port ALL:80 (rule http)"},
		{"drain", "all", "disabled NEW traffic handling for all port rules"},
		{"drain", "dns-udp", "disabled NEW traffic handling for rule dns-udp"},
		{"drain", "[fd00::1]:ALL", "disabled NEW traffic handling for all port rules of fd00::1 (rule http6)"},
	} {
		for i := range ruleVerbs {
			if ruleVerbs[i].name != test.command {
				continue
			}
			port, err := parsePort(test.port)
			if err != nil {
				t.Fatal(err)
			}
			rules, err := port.rules(portCluster())
			if err != nil {
				t.Fatal(err)
			}
			if got := ruleVerbs[i].words(&port, rules); got != test.want {
				t.Errorf("%s %s says %q, want %q", test.command, test.port, got, test.want)
			}
		}
	}
}

func TestCompletions(t *testing.T) {
	inv := testInventory()
	inv.clusters[2].Spec.PortRules = portCluster().Spec.PortRules
	texts := func(completions []string) []string {
		out := []string{}
		for _, c := range completions {
			text, _, described := strings.Cut(c, "\t")
			if !described {
				t.Errorf("%q has no description", c)
			}
			out = append(out, text)
		}
		return out
	}
	for name, test := range map[string]struct {
		got  []string
		want []string
	}{
		"clusters and nodes": {targetCompletions(inv, nil, ""),
			[]string{"db", "node-z", "cluster/web", "node-a", "node-b", "node-c", "node/web"}},
		"by prefix": {targetCompletions(inv, nil, "node-"), []string{"node-z", "node-a", "node-b", "node-c"}},
		"not what is there": {targetCompletions(inv, []string{"node-a", "db"}, ""),
			[]string{"node-z", "cluster/web", "node-b", "node-c", "node/web"}},
		"hosts after the colon": {targetCompletions(inv, nil, "web:"),
			[]string{"web:1", "web:node-a", "web:2", "web:node-b", "web:3", "web:node-c"}},
		"nodes after the colon": {targetCompletions(inv, nil, "web:node-b"), []string{"web:node-b"}},
		"of an unknown cluster": {targetCompletions(inv, nil, "shop:"), []string{}},
		"ports and rules": {portCompletions(inv, ""),
			[]string{"ALL", "all", "http", "80", "http6", "53", "dns-udp", "dns-tcp"}},
		"ports and rules, prefix": {portCompletions(inv, "dns"), []string{"dns-udp", "dns-tcp"}},
		"without an API server":   {targetCompletions(&inventory{}, nil, ""), []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, texts(test.got)); diff != "" {
				t.Errorf("completions (-want +got):\n%s", diff)
			}
		})
	}
}
