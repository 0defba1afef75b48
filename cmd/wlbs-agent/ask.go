// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// askCommands are those of "kubectl wlbs" that a node answers by itself, Kubernetes or not.
func askCommands() []*cobra.Command {
	return []*cobra.Command{
		queryCommand(),
		askCommand("params", "Prints this host's parameters, with the names of WLBS' registry", writeParams),
		askCommand("display", "Prints this host's parameters, state, buckets, traffic and conditions", writeDisplay),
		ip2macCommand(),
	}
}

type printer func(io.Writer, *v1alpha1.LoadBalancingCluster, *v1alpha1.LoadBalancingHost, []words.Peer) error

func writeParams(
	w io.Writer, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost, _ []words.Peer,
) error {
	return words.WriteParams(w, cluster, host)
}

func writeDisplay(
	w io.Writer, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost, peers []words.Peer,
) error {
	if err := words.WriteParams(w, cluster, host); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w, "\nState:"); err != nil {
		return err
	}
	return writeState(w, host, peers)
}

// writeState prints what "wlbs query" did, with the names that peers gave themselves: no API server knows them here.
func writeState(w io.Writer, host *v1alpha1.LoadBalancingHost, peers []words.Peer) error {
	if err := words.WriteState(w, host); err != nil {
		return err
	}
	if err := words.WritePeers(w, peers); err != nil {
		return err
	}
	return words.WriteDetails(w, host)
}

func askCommand(name, short string, write printer) *cobra.Command {
	var at directories
	var cluster string
	cmd := &cobra.Command{
		Use:   name + " [--cluster NAME]",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := ask(cmd.Context(), at.client(), cluster)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), a.wanted, a.host, a.peers)
		},
	}
	addClusterFlags(cmd, &cluster, &at)
	return cmd
}

// answer is all that an agent says of one of its hosts.
type answer struct {
	wanted *v1alpha1.LoadBalancingCluster
	host   *v1alpha1.LoadBalancingHost
	peers  []words.Peer
}

// ask asks for a cluster's host, or for the node's only one if cluster is "".
func ask(ctx context.Context, client query.Client, cluster string) (a answer, err error) {
	if cluster, err = client.Which(ctx, cluster); err != nil {
		return a, err
	}
	if a.wanted, err = client.Cluster(ctx, cluster); err != nil {
		return a, err
	}
	if a.host, err = client.Host(ctx, cluster); err != nil {
		return a, err
	}
	a.peers, err = client.Peers(ctx, cluster)
	return a, err
}

func addClusterFlags(cmd *cobra.Command, cluster *string, at *directories) {
	cmd.Flags().StringVar(cluster, "cluster", "", "cluster that is asked about; needed where the node is host of several")
	at.addRun(cmd)
}

func queryCommand() *cobra.Command {
	var at directories
	var cluster, output string
	cmd := &cobra.Command{
		Use:   "query [--cluster NAME]",
		Short: "Prints this host's state and the members it sees",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"", "json", "yaml"}, output) {
				return fmt.Errorf("--output %q is not known, use json or yaml", output)
			}
			a, err := ask(cmd.Context(), at.client(), cluster)
			if err != nil {
				return err
			}
			return writeQuery(cmd.OutOrStdout(), &a, output)
		},
	}
	addClusterFlags(cmd, &cluster, &at)
	cmd.Flags().StringVarP(&output, "output", "o", "", "json or yaml (default: the words of \"wlbs query\")")
	return cmd
}

func writeQuery(w io.Writer, a *answer, output string) error {
	switch output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(a.host)
	case "yaml":
		content, err := yaml.Marshal(a.host)
		if err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	default:
		return words.WriteQuery(w, a.host, a.peers)
	}
}

func ip2macCommand() *cobra.Command {
	var at directories
	var cluster string
	cmd := &cobra.Command{
		Use:   "ip2mac [ADDRESS | --cluster NAME]",
		Short: "Prints the MAC addresses of a cluster or address in all modes",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			macs, err := macsOf(cmd.Context(), args, cluster, &at)
			if err != nil {
				return err
			}
			return words.WriteIP2MAC(cmd.OutOrStdout(), macs)
		},
	}
	addClusterFlags(cmd, &cluster, &at)
	return cmd
}

func macsOf(ctx context.Context, args []string, cluster string, at *directories) (words.MACs, error) {
	if len(args) == 1 {
		addr, err := netip.ParseAddr(args[0])
		if err != nil {
			return words.MACs{}, fmt.Errorf("%q is not an IP address; use --cluster for a cluster", args[0])
		}
		return words.MACsOf(addr.WithZone(""), ""), nil
	}
	cluster, err := at.client().Which(ctx, cluster)
	if err != nil {
		return words.MACs{}, err
	}
	spec, err := at.client().Cluster(ctx, cluster)
	if err != nil {
		return words.MACs{}, err
	}
	if len(spec.Spec.VirtualIPs) == 0 {
		return words.MACs{}, fmt.Errorf("cluster %s has no virtual IP", spec.Name)
	}
	primary, err := netip.ParseAddr(spec.Spec.VirtualIPs[0])
	if err != nil {
		return words.MACs{}, fmt.Errorf("cluster %s: %w", spec.Name, err)
	}
	return words.MACsOf(primary, spec.Spec.EffectiveMode()), nil
}
