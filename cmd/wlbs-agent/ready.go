// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
)

func readyCommand() *cobra.Command {
	var at directories
	cmd := &cobra.Command{
		Use:   "ready",
		Short: "Succeeds if the agent runs and all hosts on this node are up",
		Long: `Succeeds if the agent answers queries and every host on this node is up: it has converged
since the agent started, or said why it does not. In a pod ($POD_UID) it fails while the
agent of another one still runs on the node.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			holder, err := agent.LockHolder(at.state)
			if err != nil {
				return err
			}
			if own := os.Getenv("POD_UID"); own != "" && holder.Owner != "" && holder.Owner != own {
				return fmt.Errorf("this agent waits for the one that runs on this node to end: %v", holder)
			}
			return at.client().Ready(cmd.Context())
		},
	}
	at.addState(cmd)
	at.addRun(cmd)
	return cmd
}
