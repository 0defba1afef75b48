// SPDX-License-Identifier: Apache-2.0

// Package agent makes one node a host of one cluster: it wires a config source to the
// convergence of the hosts, that to the filter in the kernel, and what comes of it to a
// status sink. It is the only package that knows all the others, and it decides nothing
// that can be decided without I/O.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

const (
	// setupRetry is the wait after the node could not be set up, or torn down.
	setupRetry = 2 * time.Second
	// teardownTimeout bounds what is done after the agent was told to end.
	teardownTimeout = 10 * time.Second
)

// Config says for which cluster an agent works, and where it keeps what it needs.
type Config struct {
	// Cluster and Node name the cluster and this node.
	Cluster, Node string
	// StateDir keeps the last config over restarts.
	StateDir string
	// BPFFSDir is where programs and maps are pinned, a directory of its own in a bpffs.
	BPFFSDir string
	// Source tells what the node is to be.
	Source Source
	// Sink takes the host's status; nil for none.
	Sink Sink
	// Socket answers queries; nil for none.
	Socket *Socket
	// RestartHold is how long peers are asked to wait for the next agent when this one ends;
	// the filter goes on meanwhile. 0 means that the host leaves and everything is removed.
	RestartHold time.Duration
	// Ending finds out what follows when the agent is told to end, and why. It is asked once, has judgeTimeout to answer
	// and may take all of it. Nil means a restart if there is a RestartHold, else a removal.
	Ending func(context.Context) (Ending, string)
	// Refuse says why a config must not follow the one before; nil accepts all that can be used. What is refused changes nothing.
	Refuse func(before, after plan.Config) error
	// Log takes what an operator should know.
	Log *slog.Logger
}

// Run serves until ctx ends. It returns an error only if it cannot serve at all.
func Run(ctx context.Context, config Config) error {
	if err := raisePriority(); err != nil {
		config.Log.Warn("Heartbeats may be late on a busy node; the agent needs CAP_SYS_NICE", "error", err)
	}
	a := &agent{Config: config, state: stateFile{dir: config.StateDir}, updates: make(chan plan.Config, 1)}
	// What carries the agent's words ends after the agent: its last ones matter.
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	inner, stopInner := context.WithCancel(ctx)
	var wg sync.WaitGroup
	failed := make(chan error, 3)
	start := func(ctx context.Context, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				failed <- err
				stopInner()
			}
		})
	}
	start(inner, func(ctx context.Context) error { return config.Source.Run(ctx, a.deliver) })
	if config.Sink != nil {
		start(outer, config.Sink.Run)
	}
	if config.Socket != nil {
		start(outer, config.Socket.Run)
	}
	a.run(inner)
	stopInner()
	stopOuter()
	wg.Wait()
	close(failed)
	var errs []error
	for f := range failed {
		errs = append(errs, f)
	}
	return errors.Join(errs...)
}

type agent struct {
	Config
	state   stateFile
	updates chan plan.Config // holds the newest only
	desired plan.Config
	status  v1alpha1.LoadBalancingHostStatus
}

// deliver makes d the newest state; one that was not taken yet is forgotten.
func (a *agent) deliver(d plan.Config) {
	for {
		select {
		case a.updates <- d:
			return
		default:
		}
		select {
		case <-a.updates:
		default:
		}
	}
}

// run goes from one membership to the next: a node becomes a host, is set up anew, or is a host no longer.
func (a *agent) run(ctx context.Context) {
	saved, found, err := a.state.load()
	if err != nil {
		a.Log.Error("Last config lost, waiting for the source", "error", err)
	}
	if found {
		a.desired = saved.Config
		a.Log.Info("Starting from the last config", "generation", a.desired.Generation())
	} else if !a.awaitUpdate(ctx) {
		return
	}
	for ctx.Err() == nil {
		if a.desired.Removed() {
			a.retire(ctx)
			if !a.awaitUpdate(ctx) {
				return
			}
			continue
		}
		if err := a.serve(ctx); err != nil {
			a.Log.Error("Not serving, trying again", "error", err)
			a.reportFailure(err)
			a.pause(ctx)
		}
	}
}

// awaitUpdate waits for news, and reports whether there was any before ctx ended.
func (a *agent) awaitUpdate(ctx context.Context) bool {
	select {
	case a.desired = <-a.updates:
		return true
	case <-ctx.Done():
		return false
	}
}

// pause waits for news or for another try.
func (a *agent) pause(ctx context.Context) {
	select {
	case d := <-a.updates:
		if err := a.refuse(a.desired, d); err != nil {
			a.Log.Error("Config refused, the last one stays in force", "error", err)
			return
		}
		a.desired = d
	case <-time.After(setupRetry):
	case <-ctx.Done():
	}
}

func (a *agent) refuse(before, after plan.Config) error {
	if a.Refuse == nil {
		return nil
	}
	return a.Refuse(before, after)
}

// serve is a member of the cluster until the config makes that impossible or ctx ends.
func (a *agent) serve(ctx context.Context) error {
	p, err := plan.New(a.desired)
	if err != nil {
		return err
	}
	m, err := a.newMember(ctx, p)
	if err != nil {
		return err
	}
	return m.run(ctx)
}

// retire leaves nothing on the node, and says so.
func (a *agent) retire(ctx context.Context) {
	for ctx.Err() == nil {
		err := Cleanup(ctx, a.Config)
		if err == nil {
			if a.Socket != nil {
				a.Socket.Withdraw()
			}
			if a.Sink != nil {
				err = a.Sink.Released(ctx)
			}
		}
		if err == nil {
			a.Log.Info("Nothing of the cluster is left on this node", "cluster", a.Cluster)
			return
		}
		a.Log.Error("Node not clean yet, trying again", "error", err)
		select {
		case <-time.After(setupRetry):
		case <-ctx.Done():
		}
	}
}

// Cleanup removes what any agent of the cluster left on this node: filter, addresses, MAC filter, files.
func Cleanup(ctx context.Context, config Config) error {
	state := stateFile{dir: config.StateDir}
	saved, found, err := state.load()
	if err != nil {
		return fmt.Errorf("cleanup of cluster %s: %w", config.Cluster, err)
	}
	if !found {
		return filter.Cleanup(config.BPFFSDir)
	}
	p, err := plan.New(saved.Config)
	if err != nil {
		return fmt.Errorf("cleanup of cluster %s: %w", config.Cluster, err)
	}
	if err := removeLeftovers(ctx, p, config.BPFFSDir); err != nil {
		return fmt.Errorf("cleanup of cluster %s: %w", config.Cluster, err)
	}
	return state.remove()
}
