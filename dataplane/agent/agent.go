// SPDX-License-Identifier: Apache-2.0

// Package agent is the process on a node: it holds the node's lock, runs a host for each cluster that the node is host
// of, and owns the network interfaces that hosts share.
//
//	source ──► supervisor ──► runner, one for each cluster ──► host.Host ──► sink, socket
//	                              │                              │
//	                              └──► networkInterface, shared ◄┘
//
// A cluster that fails never disturbs another one: each has a goroutine, files, a filter and claims of its own.
//
//   - agent.go: Source, Sink and Config, and what runs as long as the agent
//   - supervisor.go, runner.go: which hosts run; readiness.go: whether they do
//   - interfaces.go, interface.go: the interfaces in use, each with its filter and the receiver of heartbeats
//   - attachment.go: a host's part of an interface, and what it sends heartbeats by
//   - store.go, lock.go, cleanup.go: what is on the node's disk, who owns it, and how it is removed
//   - kernel.go, priority.go: what the agent needs of Linux
package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// Source tells which clusters the node is host of.
type Source interface {
	// Run calls deliver with everything that the node is host of, whole and in the order of precedence, at each change
	// until ctx ends. What is missing in it is to be removed from the node. It returns an error only when it can never
	// deliver anything; what may pass is retried and logged.
	Run(ctx context.Context, deliver func([]plan.Config)) error
}

// Sink takes the status of the node's hosts to where people read it. Its methods may be called by several goroutines.
type Sink interface {
	// Run writes what Report was given last for each cluster until ctx ends.
	Run(ctx context.Context) error
	// Report never blocks: only the newest report of each cluster matters.
	Report(report host.Report)
	// Released says that nothing of the cluster is left on this node.
	Released(ctx context.Context, cluster string) error
}

// Config says where an agent keeps what it needs, and whom it listens to.
type Config struct {
	// Node is this node's name.
	Node string
	// StateDir keeps the lock, and a directory for each cluster with its last config.
	StateDir string
	// BPFFSDir is where programs and maps are pinned, a directory of its own in a bpffs.
	BPFFSDir string
	// Owner names the agent to others that wait for the lock, beside its process ID; "" for nothing.
	Owner string

	Source Source
	// Sink takes the hosts' status; nil for none.
	Sink Sink
	// Socket answers queries; nil for none.
	Socket *standalone.Socket

	// RestartHold is how long peers are asked to wait for the next agent when this one ends;
	// the filters go on meanwhile. 0 means that all hosts leave and everything is removed.
	RestartHold time.Duration
	// Ending finds out what follows when the agent is asked to end, and why; see host.Config. Nil means a restart if there
	// is a RestartHold, else a removal.
	Ending func(context.Context) (host.Ending, string)
	// Log takes what an operator should know.
	Log *slog.Logger
}

// Run serves until ctx ends. It waits for an agent that runs on the node already. It returns an error only if it cannot
// serve at all.
func Run(ctx context.Context, config Config) error {
	if err := raisePriority(); err != nil {
		config.Log.Warn("Heartbeats may be late on a busy node; the agent needs CAP_SYS_NICE", "error", err)
	}
	lock, err := acquire(ctx, config.StateDir, config.BPFFSDir, config.Owner, config.Log)
	if err != nil {
		return err
	}
	if lock == nil {
		return nil // asked to end while it waited
	}
	defer lock.release()
	return newAgent(config).run(ctx)
}

// agent is what the clusters on a node share.
type agent struct {
	Config
	interfaces *interfaces
	claims     *hostnet.Claims
	readiness  readiness
	ending     func(context.Context) (host.Ending, string)
}

func newAgent(config Config) *agent {
	claims := hostnet.NewClaims()
	return &agent{
		Config: config, claims: claims, interfaces: newInterfaces(claims, config.BPFFSDir, config.Log),
		ending: askOnce(config),
	}
}

// run keeps source, sinks and hosts going. What carries the hosts' words ends after them: their last ones matter.
func (a *agent) run(ctx context.Context) error {
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	inner, stopInner := context.WithCancel(ctx)
	defer stopOuter()
	defer stopInner()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	start := func(ctx context.Context, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
				stopInner()
			}
		})
	}
	s := newSupervisor(a)
	start(inner, func(ctx context.Context) error { return a.Source.Run(ctx, s.deliver) })
	if a.Sink != nil {
		start(outer, a.Sink.Run)
	}
	if a.Socket != nil {
		start(outer, a.Socket.Run)
	}
	s.run(inner)
	stopInner()
	stopOuter()
	wg.Wait()
	return errors.Join(errs...)
}

// askOnce returns a function by which all hosts find out what follows the agent's end: it is asked once, and all get
// the answer.
func askOnce(config Config) func(context.Context) (host.Ending, string) {
	var once sync.Once
	var ending host.Ending
	var why string
	return func(ctx context.Context) (host.Ending, string) {
		once.Do(func() {
			switch {
			case config.Ending != nil:
				ending, why = config.Ending(ctx)
			case config.RestartHold > 0:
				ending, why = host.EndingRestart, "the agent was asked to end"
			default:
				ending, why = host.EndingRemoval, "the agent was asked to end"
			}
		})
		return ending, why
	}
}

func (a *agent) store(cluster string) *store { return newStore(a.StateDir, cluster, a.Log) }

// report passes a host's state on to those who read it.
func (a *agent) report(r host.Report) {
	cluster := r.Host.Spec.ClusterName
	a.readiness.report(cluster, r.Host.Status.State)
	if a.Sink != nil {
		a.Sink.Report(r)
	}
	if a.Socket != nil {
		a.Socket.Publish(cluster, standalone.Answer{Cluster: r.Cluster, Host: r.Host, Peers: r.Peers})
	}
}

// released says that nothing of the cluster is left on this node.
func (a *agent) released(ctx context.Context, cluster string) error {
	a.readiness.forget(cluster)
	if a.Socket != nil {
		a.Socket.Withdraw(cluster)
	}
	if a.Sink == nil {
		return nil
	}
	return a.Sink.Released(ctx, cluster)
}
