// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
)

// Where the agent of a node keeps what it needs, unless flags say otherwise.
const (
	defaultStateDir = "/var/lib/kube-wlbs"
	defaultRunDir   = "/run/kube-wlbs"
	defaultBPFFSDir = "/sys/fs/bpf/kube-wlbs"
)

// socketName is the name of the query socket in the run directory.
const socketName = "agent.sock"

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wlbs-agent",
		Short:         "Makes this node a host of LoadBalancingClusters",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(runCommand(), readyCommand(), cleanupCommand())
	root.AddCommand(askCommands()...)
	return root
}

// directories are the flags that say where the agent's files are.
type directories struct{ state, run, bpffs string }

func (d *directories) addState(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.state, "state-dir", defaultStateDir, "directory of the lock and the last configs")
}

func (d *directories) addBPFFS(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.bpffs, "bpffs-dir", defaultBPFFSDir, "directory in a bpffs for programs and maps")
}

func (d *directories) addRun(cmd *cobra.Command) {
	cmd.Flags().StringVar(&d.run, "run-dir", defaultRunDir, "directory of the socket for queries")
}

func (d *directories) socket() string { return filepath.Join(d.run, socketName) }

func (d *directories) client() query.Client { return query.Client{Path: d.socket()} }

func cleanupCommand() *cobra.Command {
	var cluster string
	var at directories
	cmd := &cobra.Command{
		Use:   "cleanup [--cluster NAME]",
		Short: "Removes all that agents left on this node: programs, maps, addresses, MAC filters, files",
		Long: `Removes all that agents left on this node, of one cluster or of all: programs, maps,
addresses, MAC filters, multicast groups, files. While an agent runs, that is an error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cluster == "" && cmd.Flags().Changed("cluster") { // of a variable that is not set, say
				return errors.New("--cluster is empty: name a cluster, or leave the flag out to remove all")
			}
			log := slog.New(slog.NewTextHandler(os.Stderr, nil))
			return agent.Cleanup(cmd.Context(), agent.Config{StateDir: at.state, BPFFSDir: at.bpffs, Log: log}, cluster)
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster", "", "cluster to remove from this node (default all)")
	at.addState(cmd)
	at.addBPFFS(cmd)
	return cmd
}
