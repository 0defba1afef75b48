// SPDX-License-Identifier: Apache-2.0

// Command kubectl-wlbs is the kubectl plugin "kubectl wlbs". Called as kubectl_complete-wlbs, it completes its own
// arguments for kubectl's shell completion.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // kubeconfigs of people use it

	"github.com/kube-wlbs/kube-wlbs/internal/wlbsctl"
)

// completionName is what kubectl looks for to complete the arguments of the plugin wlbs.
const completionName = "kubectl_complete-wlbs"

func main() {
	args := os.Args[1:]
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == completionName {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := wlbsctl.Run(ctx, args, wlbsctl.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
