// SPDX-License-Identifier: Apache-2.0

// wlbs-agent makes one node a host of a LoadBalancingCluster.
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
