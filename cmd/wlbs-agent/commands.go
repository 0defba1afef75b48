// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// Where an agent keeps what belongs to a cluster, unless flags say otherwise.
const (
	defaultStateRoot = "/var/lib/kube-wlbs"
	defaultRunRoot   = "/run/kube-wlbs"
	defaultBPFRoot   = "/sys/fs/bpf/kube-wlbs"
)

// kubernetesHold is how long peers wait for an agent whose pod Kubernetes replaces, and its filter goes on. Where the image is
// on the node that takes two to three seconds, on a busy node of two cores up to ten.
const kubernetesHold = 10 * time.Second

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wlbs-agent",
		Short:         "Makes this node a host of a LoadBalancingCluster",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), queryCommand(), cleanupCommand())
	root.AddCommand(askCommands()...)
	return root
}

// locations are the flags that say where an agent's files are.
type locations struct{ stateDir, socket, bpffsDir string }

func (l *locations) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.stateDir, "state-dir", "", "directory of the last config (default "+defaultStateRoot+"/CLUSTER)")
	cmd.Flags().StringVar(&l.bpffsDir, "bpffs-dir", "", "directory in a bpffs for programs and maps (default "+defaultBPFRoot+"/CLUSTER)")
}

func (l *locations) complete(cluster string) {
	if l.stateDir == "" {
		l.stateDir = filepath.Join(defaultStateRoot, cluster)
	}
	if l.socket == "" {
		l.socket = filepath.Join(defaultRunRoot, cluster+".sock")
	}
	if l.bpffsDir == "" {
		l.bpffsDir = filepath.Join(defaultBPFRoot, cluster)
	}
}

func runCommand() *cobra.Command {
	var cluster, clusterFile, node string
	var verbose bool
	var hold time.Duration
	var at locations
	cmd := &cobra.Command{
		Use:   "run (--cluster NAME | --cluster-file FILE) --node NODE",
		Short: "Serves as a host until told to stop",
		Long: `Serves as a host of one cluster until SIGTERM or SIGINT.

With --cluster the config comes from Kubernetes and the status goes there. When its pod
($POD_NAMESPACE, $POD_NAME, $POD_UID, of the DaemonSet $DAEMONSET_NAME) was deleted, the
filter goes on for a moment after the end, for the next agent to take over; when the agent
is told to end for another reason, as by a shutdown of the node, the host leaves the cluster.
With --cluster-file the config comes from a file, a LoadBalancingCluster whose spec.hosts
names the nodes, which is read again when it changes; at the end the host leaves the
cluster and removes all that it set up.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			config := agent.Config{Node: node, RestartHold: hold, Log: log}
			if cluster != "" {
				if !cmd.Flags().Changed("restart-hold") {
					config.RestartHold = kubernetesHold
				}
				if err := inKubernetes(&config, cluster); err != nil {
					return err
				}
			} else {
				name, err := agent.ClusterNameInFile(clusterFile)
				if err != nil {
					return err
				}
				cluster = name
				byFile(&config, clusterFile)
			}
			at.complete(cluster)
			config.Cluster = cluster
			config.StateDir, config.BPFFSDir = at.stateDir, at.bpffsDir
			config.Socket = agent.NewSocket(at.socket)
			return agent.Run(cmd.Context(), config)
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "name of the LoadBalancingCluster in Kubernetes")
	cmd.Flags().StringVar(&clusterFile, "cluster-file", "", "YAML file with a LoadBalancingCluster")
	cmd.Flags().StringVar(&node, "node", os.Getenv("NODE_NAME"), "name of this node (default $NODE_NAME)")
	cmd.Flags().StringVar(&at.socket, "socket", "", "unix socket for queries (default "+defaultRunRoot+"/CLUSTER.sock)")
	cmd.Flags().DurationVar(&hold, "restart-hold", 0,
		"how long peers wait at the end for another agent to take over, and the filter goes on; 0 leaves the cluster (default 10s with --cluster, else 0)")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log more")
	at.addFlags(cmd)
	cmd.MarkFlagsOneRequired("cluster", "cluster-file")
	cmd.MarkFlagsMutuallyExclusive("cluster", "cluster-file")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if node == "" {
			return errors.New("--node is missing and NODE_NAME is not set")
		}
		return nil
	}
	return cmd
}

func queryCommand() *cobra.Command {
	var socket, cluster, output string
	cmd := &cobra.Command{
		Use:   "query (--cluster NAME | --socket PATH)",
		Short: "Prints this host's state and the members it sees",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at := locations{socket: socket}
			at.complete(cluster)
			host, err := agent.QueryHost(cmd.Context(), at.socket)
			if err != nil {
				return err
			}
			switch output {
			case "":
				peers, err := agent.QueryPeers(cmd.Context(), at.socket)
				if err != nil {
					return err
				}
				return words.WriteQuery(cmd.OutOrStdout(), host, peers)
			case "json":
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(host)
			case "yaml":
				content, err := yaml.Marshal(host)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(content)
				return err
			}
			return fmt.Errorf("--output %q is not known, use json or yaml", output)
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "cluster whose agent is asked")
	cmd.Flags().StringVar(&socket, "socket", "", "unix socket of the agent (default "+defaultRunRoot+"/CLUSTER.sock)")
	cmd.Flags().StringVarP(&output, "output", "o", "", "json or yaml (default: the words of \"wlbs query\")")
	cmd.MarkFlagsOneRequired("cluster", "socket")
	return cmd
}

func cleanupCommand() *cobra.Command {
	var cluster string
	var at locations
	cmd := &cobra.Command{
		Use:   "cleanup --cluster NAME",
		Short: "Removes all that an agent left on this node: programs, maps, addresses, MAC filters, files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at.complete(cluster)
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			return agent.Cleanup(cmd.Context(), agent.Config{Cluster: cluster, StateDir: at.stateDir, BPFFSDir: at.bpffsDir, Log: log})
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "cluster to remove from this node")
	at.addFlags(cmd)
	if err := cmd.MarkFlagRequired("cluster"); err != nil {
		panic(err)
	}
	return cmd
}
