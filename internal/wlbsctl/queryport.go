// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// ruleReport is what queryport knows of one rule on one host.
type ruleReport struct {
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	HostID  int32  `json:"hostID"`
	Rule    string `json:"rule"`
	// State is the state the rule is to be in on this host.
	State v1alpha1.RuleState `json:"state"`
	// Buckets is the number of the rule's 60 buckets that the host serves, unset while it reports none.
	Buckets *int32 `json:"buckets,omitempty"`
	// Accepted, Dropped and Opened count the rule's packets: accepted, left to peers or served by nobody, and the TCP
	// connection requests among those accepted. Unset while the host reports none.
	Accepted *int64 `json:"accepted,omitempty"`
	Dropped  *int64 `json:"dropped,omitempty"`
	Opened   *int64 `json:"opened,omitempty"`

	ports v1alpha1.PortRule
}

func (a *app) queryportCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "queryport PORT [TARGET...]",
		Short: "Print the state of port rules on hosts",
		Long: `Prints the state of the rules that contain a port, the buckets each host serves of them, and the packets of the
rule that the host accepted and dropped, for a peer has them or the rule is not served. Counts are of the host's last
report.
Without a target: all hosts of all clusters that have such a rule.

` + portHelp + "\n\n" + targetHelp,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePortAndTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownOutput(output, "json", "yaml"); err != nil {
				return err
			}
			port, err := parsePort(args[0])
			if err != nil {
				return err
			}
			return a.queryport(cmd.Context(), &port, args[1:], output)
		},
	}
	addOutputFlag(cmd, &output, "json", "yaml")
	return cmd
}

func (a *app) queryport(ctx context.Context, port *portSpec, targets []string, output string) error {
	_, hosts, err := a.chosen(ctx, targets)
	if err != nil {
		return err
	}
	reports := []ruleReport{}
	var missing error
	for _, group := range byCluster(hosts) {
		rules, err := port.rules(group[0].cluster)
		if err != nil {
			missing = err
			if len(targets) > 0 {
				return err
			}
			continue
		}
		for _, s := range group {
			for i := range rules {
				reports = append(reports, ruleOn(s, rules[i]))
			}
		}
	}
	if len(reports) == 0 {
		return missing
	}
	if output != "" {
		return printObject(a.out, output, reports)
	}
	for i := range reports {
		a.printRule(&reports[i])
	}
	return nil
}

func ruleOn(s selected, rule v1alpha1.PortRule) ruleReport {
	r := ruleReport{
		Cluster: s.cluster.Name, Node: s.host.Spec.NodeName, HostID: s.host.Spec.HostID, Rule: rule.Name,
		State: s.host.Spec.Rule(rule.Name).State, ports: rule,
	}
	for _, t := range s.host.Status.Traffic.Rules {
		if t.Rule == rule.Name {
			r.Accepted, r.Dropped, r.Opened = t.Accepted, t.Dropped, t.Opened
		}
	}
	for _, b := range s.host.Status.Buckets {
		if b.Rule == rule.Name {
			r.Buckets = b.Count
		}
	}
	return r
}

func (a *app) printRule(r *ruleReport) {
	a.printf("Host %d (%s) of %s: rule %s, ports %d-%d %s %s, is %s", r.HostID, r.Node, r.Cluster, r.Rule,
		r.ports.Ports.From, r.ports.Ports.To, r.ports.Protocol, whereWords(&r.ports), strings.ToLower(string(r.State)))
	if r.Buckets != nil {
		a.printf(" and has %d of 60 buckets", *r.Buckets)
	}
	a.printf(".\n")
	if r.Accepted != nil && r.Dropped != nil {
		a.printf("  Packets: Accepted=%d, Dropped=%d\n", *r.Accepted, *r.Dropped)
	}
}
