// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// askCommands are those of "kubectl wlbs" that a node answers by itself, Kubernetes or not.
func askCommands() []*cobra.Command {
	return []*cobra.Command{
		askCommand("params", "Prints this host's parameters, with the names of WLBS' registry", writeParams),
		askCommand("display", "Prints this host's parameters, state, buckets, traffic and conditions", writeDisplay),
		ip2macCommand(),
	}
}

type printer func(io.Writer, *v1alpha1.LoadBalancingCluster, *v1alpha1.LoadBalancingHost, []words.Peer) error

func writeParams(w io.Writer, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost, _ []words.Peer) error {
	return words.WriteParams(w, cluster, host)
}

func writeDisplay(w io.Writer, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost, peers []words.Peer) error {
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
	var at locations
	var cluster string
	cmd := &cobra.Command{
		Use:   name + " (--cluster NAME | --socket PATH)",
		Short: short,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at.complete(cluster)
			spec, err := agent.QueryCluster(cmd.Context(), at.socket)
			if err != nil {
				return err
			}
			host, err := agent.QueryHost(cmd.Context(), at.socket)
			if err != nil {
				return err
			}
			peers, err := agent.QueryPeers(cmd.Context(), at.socket)
			if err != nil {
				return err
			}
			return write(cmd.OutOrStdout(), spec, host, peers)
		},
	}
	addSocketFlags(cmd, &cluster, &at)
	cmd.MarkFlagsOneRequired("cluster", "socket")
	return cmd
}

func addSocketFlags(cmd *cobra.Command, cluster *string, at *locations) {
	cmd.Flags().StringVar(cluster, "cluster", "", "cluster whose agent is asked")
	cmd.Flags().StringVar(&at.socket, "socket", "", "unix socket of the agent (default "+defaultRunRoot+"/CLUSTER.sock)")
}

func ip2macCommand() *cobra.Command {
	var at locations
	var cluster string
	cmd := &cobra.Command{
		Use:   "ip2mac (ADDRESS | --cluster NAME | --socket PATH)",
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
	addSocketFlags(cmd, &cluster, &at)
	return cmd
}

func macsOf(ctx context.Context, args []string, cluster string, at *locations) (words.MACs, error) {
	if len(args) == 1 {
		addr, err := netip.ParseAddr(args[0])
		if err != nil {
			return words.MACs{}, fmt.Errorf("%q is not an IP address; use --cluster for a cluster", args[0])
		}
		return words.MACsOf(addr.WithZone(""), ""), nil
	}
	if cluster == "" && at.socket == "" {
		return words.MACs{}, fmt.Errorf("say which address, or --cluster or --socket")
	}
	at.complete(cluster)
	spec, err := agent.QueryCluster(ctx, at.socket)
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
