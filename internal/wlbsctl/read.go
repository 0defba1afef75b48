// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// reader is a command that prints something about hosts.
func (a *app) reader(
	name, short, long string, formats []string,
	run func(ctx context.Context, targets []string, output string) error,
) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:               name + " [TARGET...]",
		Short:             short,
		Long:              long + "\nWithout a target: all hosts of all clusters.\n\n" + targetHelp,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownOutput(output, formats...); err != nil {
				return err
			}
			return run(cmd.Context(), args, output)
		},
	}
	addOutputFlag(cmd, &output, formats...)
	return cmd
}

var allFormats = []string{"json", "yaml", "wide"}

func (a *app) queryCommand() *cobra.Command {
	return a.reader("query", "Print the state of hosts and the members they see",
		`Prints the state of hosts and the members they see, in the words of "wlbs query"; -o wide adds buckets, traffic and
conditions. The exit code says it too: 0 if all these hosts are as they should be, 8 if one that should be a member
is not converged, 9 if one is converged and carries no traffic.`, allFormats, a.query)
}

func (a *app) query(ctx context.Context, targets []string, output string) error {
	_, hosts, err := a.chosen(ctx, targets)
	if err != nil {
		return err
	}
	if output == "json" || output == "yaml" {
		if err := printObject(a.out, output, hostList(hosts)); err != nil {
			return err
		}
		return a.health(hosts)
	}
	for i, group := range byCluster(hosts) {
		if i > 0 {
			a.printf("\n")
		}
		a.clusterHeading(group[0].cluster)
		for _, s := range group {
			a.printf("\n")
			a.hostHeading(s)
			if err := words.WriteState(a.out, s.host); err != nil {
				return err
			}
			if output != "wide" {
				continue
			}
			if err := words.WriteDetails(a.out, s.host); err != nil {
				return err
			}
		}
	}
	return a.health(hosts)
}

func (a *app) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(a.out, format, args...) // a closed pipe is the reader's wish
}

// clusterHeading names a cluster, and what is wrong with all of it.
func (a *app) clusterHeading(c *v1alpha1.LoadBalancingCluster) {
	a.printf("Cluster %s (%s)\n", c.Name, firstVIP(c))
	for i := range c.Status.Conditions {
		if ready := &c.Status.Conditions[i]; ready.Type == v1alpha1.ConditionReady && ready.Status != "True" {
			a.printf("  is not ready: %s: %s\n", ready.Reason, ready.Message)
		}
	}
}

// hostHeading names a host's node, and what its peers know better than its own report.
func (a *app) hostHeading(s selected) {
	a.printf("Host %d is node %s", s.host.Spec.HostID, s.host.Spec.NodeName)
	if age, late := outdated(s.host, a.now()); late {
		a.printf(", and last reported %v ago", age.Round(time.Second))
	}
	a.printf("\n")
	for i := range s.cluster.Status.Hosts {
		h := &s.cluster.Status.Hosts[i]
		if h.NodeName == s.host.Spec.NodeName && h.Message != "" && s.host.Status.Stall == nil {
			a.printf("  %s\n", h.Message)
		}
	}
}

// clockSkew is how far this machine's clock may be ahead of a node's before a report is wrongly taken for old.
const clockSkew = time.Minute

// outdated reports how old a host's report is, and whether that is more than its lease: the manager says so too, unless
// it is gone as well.
func outdated(h *v1alpha1.LoadBalancingHost, now time.Time) (age time.Duration, late bool) {
	if h.Status.RenewTime == nil || h.Status.LeaseSeconds == nil {
		return 0, false
	}
	age = now.Sub(h.Status.RenewTime.Time)
	return age, age > time.Duration(*h.Status.LeaseSeconds)*time.Second+clockSkew
}

// health is the exit code of query: 0, 8 or 9.
func (a *app) health(hosts []selected) error {
	code := ExitOK
	for _, s := range hosts {
		switch {
		case !asDesired(s, a.now()):
			return &exitError{code: ExitNotConverged}
		case s.host.Status.Stall != nil:
			code = ExitStalled
		}
	}
	if code != ExitOK {
		return &exitError{code: code}
	}
	return nil
}

func asDesired(s selected, now time.Time) bool {
	if _, late := outdated(s.host, now); late || droppedByPeers(s) {
		return false
	}
	state := s.host.Status.State
	switch s.host.Spec.EffectiveDesiredState() {
	case v1alpha1.DesiredStateStopped:
		return state == v1alpha1.HostStopped
	case v1alpha1.DesiredStateSuspended:
		return state == v1alpha1.HostSuspended
	case v1alpha1.DesiredStateDrained:
		return state == v1alpha1.HostDraining || state == v1alpha1.HostStopped
	default:
		return state == v1alpha1.HostConverged
	}
}

// droppedByPeers reports whether the cluster knows better than the host's last report, which says nothing of a node
// that crashed after it. A report that came later than what the cluster knew, for the manager may be gone, counts for
// more.
func droppedByPeers(s selected) bool {
	for i := range s.cluster.Status.Hosts {
		known := &s.cluster.Status.Hosts[i]
		if known.NodeName == s.host.Spec.NodeName && known.State == v1alpha1.HostUnknown && known.LastReportTime != nil {
			renewed := s.host.Status.RenewTime
			return renewed == nil || !renewed.Truncate(time.Second).After(known.LastReportTime.Time)
		}
	}
	return false
}

func hostList(hosts []selected) *v1alpha1.LoadBalancingHostList {
	list := &v1alpha1.LoadBalancingHostList{Items: []v1alpha1.LoadBalancingHost{}}
	list.APIVersion, list.Kind = v1alpha1.GroupVersion.String(), hostKind+"List"
	for _, s := range hosts {
		host := s.host.DeepCopy()
		host.ManagedFields = nil
		list.Items = append(list.Items, *host)
	}
	return list
}

func (a *app) ip2macCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "ip2mac CLUSTER|ADDRESS...",
		Short: "Print the MAC addresses of a cluster or address in all modes",
		Long: `Prints the MAC address that clients send to in each mode, of a cluster or of an address that may become the
primary virtual IP of one. For an address no API server is asked.`,
		Args: targetsRequired,
		ValidArgsFunction: func(
			cmd *cobra.Command, args []string, toComplete string,
		) ([]cobra.Completion, cobra.ShellCompDirective) {
			inv := &inventory{clusters: a.completionInventory(cmd).clusters}
			return targetCompletions(inv, args, toComplete), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownOutput(output, "json", "yaml"); err != nil {
				return err
			}
			return a.ip2mac(cmd.Context(), args, output)
		},
	}
	addOutputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func (a *app) ip2mac(ctx context.Context, names []string, output string) error {
	var found []words.MACs
	var inv *inventory
	for _, name := range names {
		if addr, err := netip.ParseAddr(name); err == nil {
			found = append(found, words.MACsOf(addr.WithZone(""), ""))
			continue
		}
		if inv == nil {
			var err error
			if _, inv, err = a.inventory(ctx); err != nil {
				return err
			}
		}
		cluster := inv.clusterNamed(name)
		if cluster == nil {
			return failf(ExitNotFound, "there is no cluster %s; there are: %s", name, inv.clusterNames())
		}
		primary, err := netip.ParseAddr(firstVIP(cluster))
		if err != nil {
			return fmt.Errorf("cluster %s: %w", cluster.Name, err)
		}
		found = append(found, words.MACsOf(primary, cluster.Spec.EffectiveMode()))
	}
	if output != "" {
		return printObject(a.out, output, found)
	}
	for i, macs := range found {
		if i > 0 {
			a.printf("\n")
		}
		if err := words.WriteIP2MAC(a.out, macs); err != nil {
			return err
		}
	}
	return nil
}
