// SPDX-License-Identifier: Apache-2.0

// Command cluster makes and removes the test cluster: Kubernetes nodes in
// containers (kind) that share one Ethernet segment with the machine.
//
//	cluster up                        make it, or start what was stopped
//	cluster load bin/agent.tar        give images to all nodes
//	cluster exec -- kubectl get nodes run a program where the cluster is
//	cluster down                      remove it
package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

func main() {
	if err := keepFiles(); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// keepFiles lets no program that this one starts inherit files of its caller but the standard ones: engines start
// daemons that stay, for instance their name server, and these would hold a lock of the caller's for ever.
func keepFiles() error {
	const first = 3
	err := unix.CloseRange(first, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mark inherited files: %w", err)
	}
	return nil
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "cluster",
		Short:         "Make, use and remove the test cluster",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), downCommand(), loadCommand(), execCommand(), logsCommand())
	return root
}

func upCommand() *cobra.Command {
	var fresh bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Make the cluster, or start its stopped nodes",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return up(cmd.Context(), fresh) },
	}
	cmd.Flags().BoolVar(&fresh, "fresh", false, "remove a cluster that is there and make a new one")
	return cmd
}

func downCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Remove the cluster",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return down(cmd.Context(), all) },
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove an isolated lab by force, its engine's store included")
	return cmd
}

func loadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "load ARCHIVE...",
		Short: "Load image archives into all nodes",
		Args:  cobra.MinimumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return load(cmd.Context(), args) },
	}
}

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "exec -- PROGRAM [ARG...]",
		Short:              "Run a program in the lab's network namespace and environment",
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return execute(args) },
	}
}

func logsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logs FOLDER",
		Short: "Collect the nodes' logs into a folder",
		Args:  cobra.ExactArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return logs(args[0]) },
	}
}

// execute replaces this program by the one named.
func execute(args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return fmt.Errorf("a program to run is needed, as in: cluster exec -- kubectl get nodes")
	}
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return l.Exec(program, args)
}
