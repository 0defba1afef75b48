// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone"
)

// kubernetesHold is how long peers wait for an agent whose pod Kubernetes replaces, and its filters go on. Where the
// image is on the node that takes two to three seconds, on a busy node of two cores up to ten.
const kubernetesHold = 10 * time.Second

// runFlags are those of "run".
type runFlags struct {
	directories
	node, configDir, clusterFile string
	hold                         time.Duration
	verbose                      bool
}

func runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run --node NODE [--config-dir DIR | --cluster-file FILE]",
		Short: "Serves as a host until asked to stop",
		Long: `Serves as a host of all clusters that this node belongs to, until SIGTERM or SIGINT.

In a pod the configs come from Kubernetes and the status goes there. When the pod
($POD_NAMESPACE, $POD_NAME, $POD_UID, of the DaemonSet $DAEMONSET_NAME) was deleted, the
filters go on for a moment after the end, for the next agent to take over; when the agent
is asked to end for another reason, as by a shutdown of the node, its hosts leave their
clusters.

With --config-dir the configs come from the files *.yaml of a directory, and with
--cluster-file from one file: each is a LoadBalancingCluster whose spec.hosts names the
nodes. They are read again when they change. At the end the hosts leave their clusters
and remove all that they set up.

One agent runs on a node at a time: another one waits for it to end.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := f.config(cmd.Flags().Changed("restart-hold"))
			if err != nil {
				return err
			}
			return agent.Run(cmd.Context(), config)
		},
	}
	cmd.Flags().StringVar(&f.configDir, "config-dir", "", "directory of YAML files with a LoadBalancingCluster each")
	cmd.Flags().StringVar(&f.clusterFile, "cluster-file", "", "YAML file with a LoadBalancingCluster")
	cmd.Flags().StringVar(&f.node, "node", os.Getenv("NODE_NAME"), "name of this node (default $NODE_NAME)")
	cmd.Flags().DurationVar(&f.hold, "restart-hold", 0,
		"how long peers wait at the end for another agent to take over, and the filters go on; 0 leaves the clusters (default 10s in Kubernetes, else 0)")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "log more")
	f.addState(cmd)
	f.addRun(cmd)
	f.addBPFFS(cmd)
	cmd.MarkFlagsMutuallyExclusive("config-dir", "cluster-file")
	return cmd
}

// config checks the flags, and returns what the agent is made of.
func (f *runFlags) config(holdGiven bool) (agent.Config, error) {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	config := agent.Config{
		Node: f.node, StateDir: f.state, BPFFSDir: f.bpffs, Owner: os.Getenv("POD_UID"), RestartHold: f.hold,
		Socket: standalone.NewSocket(f.socket()),
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	switch {
	case f.node == "":
		return config, errors.New("--node is missing and NODE_NAME is not set")
	case f.hold < 0:
		return config, fmt.Errorf("--restart-hold %v is negative", f.hold)
	case f.configDir != "" || f.clusterFile != "":
		byFiles(&config, f.configDir, f.clusterFile)
		return config, nil
	}
	if !holdGiven {
		config.RestartHold = kubernetesHold
	}
	return config, inKubernetes(&config)
}
