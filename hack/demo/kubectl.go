// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"text/template"
	"time"
)

//go:embed manifests.yaml
var manifests string

// apply makes the LoadBalancingCluster and the workload.
func (d demo) apply(ctx context.Context) error {
	t, err := template.New("manifests").Parse(manifests)
	if err != nil {
		return err
	}
	var objects bytes.Buffer
	if err := t.Execute(&objects, map[string]any{"Name": clusterName, "VIP": d.vip}); err != nil {
		return err
	}
	d.say("a LoadBalancingCluster with the virtual IP %s, and a web server on every worker", d.vip)
	return d.kubectl(ctx, &objects, "apply", "--server-side", "-f", "-")
}

// waitForConvergence returns when all workers serve the virtual IP.
func (d demo) waitForConvergence(ctx context.Context, timeout time.Duration) error {
	d.say("kubectl wait --for=condition=Converged lbc/%s", clusterName)
	start := time.Now()
	limit := "--timeout=" + timeout.String()
	if err := d.kubectl(ctx, nil, "rollout", "status", "daemonset/whoami", limit); err != nil {
		return err
	}
	members := fmt.Sprintf("--for=jsonpath={.status.hostCounts.converged}=%d", len(d.workers))
	for _, condition := range []string{members, "--for=condition=Converged"} {
		if err := d.kubectl(ctx, nil, "wait", condition, "lbc/"+clusterName, limit); err != nil {
			return fmt.Errorf("the cluster does not converge: %w", err)
		}
	}
	d.say("web servers ready and cluster converged %.1f s after kubectl apply", time.Since(start).Seconds())
	return nil
}

// show prints what a user looks at first.
func (d demo) show(ctx context.Context) error {
	for _, args := range []string{"get lbc", "get lbh"} {
		d.say("kubectl %s", args)
		if err := d.kubectl(ctx, nil, strings.Fields(args)...); err != nil {
			return err
		}
	}
	return nil
}

// kubectl runs kubectl with its output shown.
func (d demo) kubectl(ctx context.Context, input *bytes.Buffer, args ...string) error {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = d.Environ()
	cmd.Stdout, cmd.Stderr = d.out, os.Stderr
	if input != nil {
		cmd.Stdin = input
	}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kubectl %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
