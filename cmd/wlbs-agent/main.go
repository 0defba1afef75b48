// SPDX-License-Identifier: Apache-2.0

// Command wlbs-agent serves on one node for all LoadBalancingClusters that the node is host of, and answers questions
// about them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := rootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "wlbs-agent:", err)
		os.Exit(1)
	}
}
