// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// completionTimeout bounds how long the shell hangs on an API server that does not answer.
const completionTimeout = 3 * time.Second

func (a *app) completionInventory(cmd *cobra.Command) *inventory {
	parent := cmd.Context()
	if parent == nil {
		parent = context.WithoutCancel(context.TODO())
	}
	ctx, cancel := context.WithTimeout(parent, completionTimeout)
	defer cancel()
	_, inv, err := a.inventory(ctx)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return &inventory{}
	}
	return inv
}

// completeTargets offers clusters, nodes and, once a cluster and a colon are typed, its hosts.
func (a *app) completeTargets(
	cmd *cobra.Command, args []string, toComplete string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	return targetCompletions(a.completionInventory(cmd), args, toComplete), cobra.ShellCompDirectiveNoFileComp
}

// completePortAndTargets offers ports and rules for the first argument and targets for the others.
func (a *app) completePortAndTargets(
	cmd *cobra.Command, args []string, toComplete string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	inv := a.completionInventory(cmd)
	if len(args) == 0 {
		return portCompletions(inv, toComplete), cobra.ShellCompDirectiveNoFileComp
	}
	return targetCompletions(inv, args[1:], toComplete), cobra.ShellCompDirectiveNoFileComp
}

func targetCompletions(inv *inventory, args []string, toComplete string) []cobra.Completion {
	var out []cobra.Completion
	offer := func(text, description string) {
		if strings.HasPrefix(text, toComplete) && !slices.Contains(args, text) {
			out = append(out, cobra.CompletionWithDesc(text, description))
		}
	}
	if cluster, _, qualified := strings.Cut(toComplete, ":"); qualified {
		for _, s := range inv.all() {
			if s.cluster.Name == cluster {
				offer(fmt.Sprintf("%s:%d", cluster, s.host.Spec.HostID),
					fmt.Sprintf("%s, %s", s.host.Spec.NodeName, words.State(s.host)))
				offer(cluster+":"+s.host.Spec.NodeName, fmt.Sprintf("host %d, %s", s.host.Spec.HostID, words.State(s.host)))
			}
		}
		return out
	}
	for i := range inv.clusters {
		c := &inv.clusters[i]
		name := c.Name
		if len(inv.onNode(name)) > 0 {
			name = "cluster/" + name
		}
		offer(name, strings.TrimSpace(fmt.Sprintf("cluster %s %s", firstVIP(c), c.Status.Columns.Hosts)))
	}
	byNode := map[string][]string{}
	for i := range inv.hosts {
		h := &inv.hosts[i]
		byNode[h.Spec.NodeName] = append(byNode[h.Spec.NodeName], h.Spec.ClusterName+":"+strconv.Itoa(int(h.Spec.HostID)))
	}
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		name := node
		if inv.clusterNamed(node) != nil {
			name = "node/" + node
		}
		offer(name, "node, "+strings.Join(byNode[node], " "))
	}
	return out
}

func firstVIP(c *v1alpha1.LoadBalancingCluster) string {
	if len(c.Spec.VirtualIPs) == 0 {
		return ""
	}
	return c.Spec.VirtualIPs[0]
}

func portCompletions(inv *inventory, toComplete string) []cobra.Completion {
	var out []cobra.Completion
	seen := map[string]bool{}
	offer := func(text, description string) {
		if strings.HasPrefix(text, toComplete) && !seen[text] {
			seen[text] = true
			out = append(out, cobra.CompletionWithDesc(text, description))
		}
	}
	offer(allWord, "all port rules")
	for i := range inv.clusters {
		c := &inv.clusters[i]
		rules := c.Spec.EffectivePortRules()
		for j := range rules {
			r := &rules[j]
			if r.FilteringMode == v1alpha1.FilteringModeDisabled {
				continue // nothing that a host could enable or drain
			}
			description := fmt.Sprintf("rule %s of %s", r.Name, c.Name)
			if r.Ports.From == r.Ports.To {
				offer(strconv.Itoa(int(r.Ports.From)), description)
			}
			offer(r.Name, fmt.Sprintf("%s, ports %d-%d %s", description, r.Ports.From, r.Ports.To, r.Protocol))
		}
	}
	return out
}

// completeContexts makes --context offer those of the kubeconfig.
func (a *app) completeContexts(root *cobra.Command) {
	complete := func(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		if flag := cmd.Flag("kubeconfig"); flag != nil {
			rules.ExplicitPath = flag.Value.String()
		}
		config, err := rules.Load()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for name := range config.Contexts {
			if strings.HasPrefix(name, toComplete) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	if err := root.RegisterFlagCompletionFunc("context", complete); err != nil {
		panic(err) // only when the flag does not exist
	}
}
