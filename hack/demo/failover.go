// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// How a client probes while a node hangs: often enough to see an outage of a tenth of a second, and long enough to see
// the end of it.
const (
	probeInterval = 50 * time.Millisecond
	probeTimeout  = 900 * time.Millisecond // below TCP's first repetition: a packet that nobody takes is a failure
	probeDuration = 6 * time.Second
)

// failOver lets a node hang under load, shows what clients and kubectl see of it, and lets the node go on.
func (d demo) failOver(ctx context.Context) (err error) {
	victim, err := d.victim(ctx)
	if err != nil {
		return err
	}
	d.say("%s pause %s: a node hangs, while a client makes %d connections a second", d.Engine, victim,
		time.Second/probeInterval)
	if err := d.Pause(ctx, victim); err != nil {
		return err
	}
	paused := true
	goOn := func() error {
		paused = false
		return d.Unpause(context.WithoutCancel(ctx), victim)
	}
	defer func() {
		if paused {
			_ = goOn()
		}
	}()
	probes, err := d.probe(ctx)
	if err != nil {
		return err
	}
	d.report(probes)
	if err := d.kubectl(ctx, nil, "get", "lbc"); err != nil {
		return err
	}
	d.say("%s unpause %s", d.Engine, victim)
	if err := goOn(); err != nil {
		return err
	}
	members := fmt.Sprintf("--for=jsonpath={.status.hostCounts.converged}=%d", len(d.workers))
	return d.kubectl(ctx, nil, "wait", members, "lbc/"+clusterName, "--timeout=2m")
}

// victim is the last worker on which the manager does not run, for the manager is who tells kubectl of the others.
func (d demo) victim(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "kubectl", "-n", "kube-wlbs-system", "get", "pods",
		"-l", "app.kubernetes.io/name=wlbs-manager",
		"-o", "jsonpath={.items[*].spec.nodeName}")
	cmd.Env = d.Environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	nodes, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("node of the manager: %w: %s", err, stderr.String())
	}
	managers := strings.Fields(string(nodes))
	for _, worker := range slices.Backward(d.workers) {
		if !slices.Contains(managers, worker) {
			return worker, nil
		}
	}
	return "", fmt.Errorf("the manager runs on all of %v", d.workers)
}

// probe is one connection: when it began, and which node answered, if any.
type probe struct {
	at   time.Duration
	node string
}

// probe makes connections for a while, of which none waits for another, in the order in which they began.
func (d demo) probe(ctx context.Context) ([]probe, error) {
	client := &http.Client{Timeout: probeTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	probes := make([]probe, probeDuration/probeInterval)
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	var work sync.WaitGroup
	defer work.Wait()
	start := time.Now()
	for i := range probes {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		work.Go(func() {
			probes[i].at = time.Since(start)
			probes[i].node, _ = ask(ctx, client, d.vip)
		})
	}
	work.Wait()
	return probes, ctx.Err()
}

// report says how many connections failed, and within what time.
func (d demo) report(probes []probe) {
	failed := slices.DeleteFunc(slices.Clone(probes), func(p probe) bool { return p.node != "" })
	fmt.Fprintf(d.out, "  %d connections, %d failed", len(probes), len(failed))
	if len(failed) > 0 {
		fmt.Fprintf(d.out, ", the last of them %.1f s after the first", (failed[len(failed)-1].at - failed[0].at).Seconds())
	}
	fmt.Fprintln(d.out)
}
