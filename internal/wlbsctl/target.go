// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// targetHelp explains targets in the help of the commands that take them.
const targetHelp = `A target is one of
  CLUSTER             all hosts of a cluster, by its name or one of its virtual IPs
  CLUSTER:HOST        one host, by its host ID or the name of its node
  NODE                that node's host in every cluster it is a host of
  ID                  the host with this ID, if there is only one cluster
  cluster/NAME, node/NAME   where a cluster and a node have the same name
IPv6 addresses before a colon are written in square brackets: [fd00::100]:2.`

// target is a parsed target. Which of the things it could mean exist is another question.
type target struct {
	text string
	// cluster is the name or virtual IP of a cluster, host the ID or node name after the colon; either may be "".
	cluster, host string
	// bare is set instead of the two when the text does not say what it names.
	bare string
	// node is set instead when the text says that it names a node.
	node string
}

func parseTarget(text string) (target, error) {
	t := target{text: text}
	kind, name, qualified := strings.Cut(text, "/")
	switch {
	case text == "":
		return t, failf(ExitUsage, "a target is empty")
	case qualified && name == "":
		return t, failf(ExitUsage, "target %q names nothing", text)
	case qualified && (kind == "node" || kind == "nodes" || kind == "no"):
		t.node = name
		return t, nil
	case qualified && (kind == "cluster" || kind == "lbc" || kind == clusterResource):
		t.cluster = name
		return t, nil
	case qualified:
		return t, failf(ExitUsage, "target %q: %q is neither cluster nor node", text, kind)
	}
	if _, err := netip.ParseAddr(text); err == nil {
		t.cluster = text
		return t, nil
	}
	var cluster, host string
	var found bool
	if strings.HasPrefix(text, "[") {
		var rest string
		if cluster, rest, found = strings.Cut(text[1:], "]"); !found {
			return t, failf(ExitUsage, "target %q lacks the closing bracket", text)
		}
		if host, found = strings.CutPrefix(rest, ":"); rest != "" && !found {
			return t, failf(ExitUsage, "target %q: a colon must follow the bracket", text)
		}
		if !found {
			t.cluster = cluster
			return t, nil
		}
	} else if cluster, host, found = strings.Cut(text, ":"); !found {
		t.bare = text
		return t, nil
	}
	if cluster == "" || host == "" || strings.Contains(host, ":") {
		return t, failf(ExitUsage, "target %q is not CLUSTER:HOST", text)
	}
	t.cluster, t.host = cluster, host
	return t, nil
}

// inventory is what targets are looked up in.
type inventory struct {
	clusters []v1alpha1.LoadBalancingCluster
	// hosts are in the order of their cluster's name and their ID.
	hosts []v1alpha1.LoadBalancingHost
}

// selected is one host that a command is about, with its cluster.
type selected struct {
	cluster *v1alpha1.LoadBalancingCluster
	host    *v1alpha1.LoadBalancingHost
}

// String names the host for people.
func (s selected) String() string {
	return fmt.Sprintf("Host %d (%s) of %s", s.host.Spec.HostID, s.host.Spec.NodeName, s.cluster.Name)
}

// selectHosts looks up targets and returns their hosts, each once, by cluster and host ID.
func (inv *inventory) selectHosts(targets []string) ([]selected, error) {
	var out []selected
	for _, text := range targets {
		t, err := parseTarget(text)
		if err != nil {
			return nil, err
		}
		found, err := inv.lookup(t)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	slices.SortStableFunc(out, func(a, b selected) int {
		if by := strings.Compare(a.cluster.Name, b.cluster.Name); by != 0 {
			return by
		}
		return int(a.host.Spec.HostID - b.host.Spec.HostID)
	})
	return slices.CompactFunc(out, func(a, b selected) bool { return a.host.Name == b.host.Name }), nil
}

// all returns every host.
func (inv *inventory) all() []selected {
	return inv.matching(func(*v1alpha1.LoadBalancingCluster, *v1alpha1.LoadBalancingHost) bool { return true })
}

func (inv *inventory) matching(
	match func(*v1alpha1.LoadBalancingCluster, *v1alpha1.LoadBalancingHost) bool,
) []selected {
	var out []selected
	for i := range inv.clusters {
		for j := range inv.hosts {
			c, h := &inv.clusters[i], &inv.hosts[j]
			if h.Spec.ClusterName == c.Name && match(c, h) {
				out = append(out, selected{cluster: c, host: h})
			}
		}
	}
	return out
}

func (inv *inventory) lookup(t target) ([]selected, error) {
	switch {
	case t.bare != "":
		return inv.lookupBare(t.bare)
	case t.node != "":
		if found := inv.onNode(t.node); len(found) > 0 {
			return found, nil
		}
		return nil, failf(ExitNotFound, "node %s is not a host of any cluster", t.node)
	}
	cluster := inv.clusterNamed(t.cluster)
	if cluster == nil {
		return nil, failf(ExitNotFound, "there is no cluster %s; there are: %s", t.cluster, inv.clusterNames())
	}
	hosts := inv.hostsOf(cluster)
	if t.host == "" {
		if len(hosts) == 0 {
			return nil, failf(ExitNotFound, "cluster %s has no hosts", cluster.Name)
		}
		return hosts, nil
	}
	found := slices.DeleteFunc(hosts, func(s selected) bool { return !isCalled(s.host, t.host) })
	switch len(found) {
	case 0:
		return nil, failf(ExitNotFound, "cluster %s has no host %s; it has: %s", cluster.Name, t.host,
			hostNames(inv.hostsOf(cluster)))
	case 1:
		return found, nil
	}
	return nil, failf(ExitUsage, "%q is the ID of one host and the node of another: use node/%s or the other one's ID",
		t.text, t.host)
}

// lookupBare finds out what a word without qualifier names. It must name one thing: nobody wants to stop a cluster
// when a node of the same name was meant.
func (inv *inventory) lookupBare(word string) ([]selected, error) {
	cluster := inv.clusterNamed(word)
	byNode := inv.onNode(word)
	byObject := inv.matching(func(_ *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost) bool {
		return h.Name == word && h.Spec.NodeName != word
	})
	byID := inv.matching(func(_ *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost) bool {
		return strconv.Itoa(int(h.Spec.HostID)) == word
	})
	kinds := 0
	for _, is := range []bool{cluster != nil, len(byNode) > 0, len(byObject) > 0, len(byID) > 0} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds == 0:
		return nil, failf(ExitNotFound, "%q is no cluster, node or host ID; clusters are: %s", word, inv.clusterNames())
	case kinds > 1:
		return nil, failf(ExitUsage, "%q names several things: say cluster/%s, node/%s or CLUSTER:ID", word, word, word)
	case cluster != nil:
		return inv.lookup(target{text: word, cluster: cluster.Name})
	case len(byNode) > 0:
		return byNode, nil
	case len(byObject) > 0:
		return byObject, nil
	case len(inv.clusters) > 1:
		return nil, failf(ExitUsage, "host ID %s needs its cluster, as in %s:%s", word, byID[0].cluster.Name, word)
	}
	return byID, nil
}

// clusterNamed finds a cluster by its name or one of its virtual IPs.
func (inv *inventory) clusterNamed(name string) *v1alpha1.LoadBalancingCluster {
	for i := range inv.clusters {
		if inv.clusters[i].Name == name {
			return &inv.clusters[i]
		}
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return nil
	}
	for i := range inv.clusters {
		if slices.Contains(inv.clusters[i].Spec.VirtualIPs, addr.String()) {
			return &inv.clusters[i]
		}
	}
	return nil
}

func (inv *inventory) hostsOf(cluster *v1alpha1.LoadBalancingCluster) []selected {
	return inv.matching(func(c *v1alpha1.LoadBalancingCluster, _ *v1alpha1.LoadBalancingHost) bool { return c == cluster })
}

func (inv *inventory) onNode(node string) []selected {
	return inv.matching(func(_ *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost) bool {
		return h.Spec.NodeName == node
	})
}

func isCalled(h *v1alpha1.LoadBalancingHost, name string) bool {
	return h.Spec.NodeName == name || h.Name == name || strconv.Itoa(int(h.Spec.HostID)) == name
}

func (inv *inventory) clusterNames() string {
	names := make([]string, len(inv.clusters))
	for i := range inv.clusters {
		names[i] = inv.clusters[i].Name
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func hostNames(hosts []selected) string {
	names := make([]string, len(hosts))
	for i, s := range hosts {
		names[i] = fmt.Sprintf("%d (%s)", s.host.Spec.HostID, s.host.Spec.NodeName)
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
