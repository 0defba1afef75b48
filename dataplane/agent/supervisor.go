// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"sync"

	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// supervisor runs one runner for each cluster that the node is host of, or that an earlier agent left something of.
type supervisor struct {
	agent   *agent
	updates chan []plan.Config // holds the newest only
	ended   chan *runner
	runners map[string]*runner
	wg      sync.WaitGroup
}

func newSupervisor(a *agent) *supervisor {
	return &supervisor{agent: a, updates: make(chan []plan.Config, 1), ended: make(chan *runner),
		runners: map[string]*runner{}}
}

// deliver makes configs the newest state; one that was not taken yet is forgotten.
func (s *supervisor) deliver(configs []plan.Config) { replace(s.updates, configs) }

// run goes on until ctx ended and all runners did.
func (s *supervisor) run(ctx context.Context) {
	s.resume(ctx)
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case configs := <-s.updates:
			s.follow(ctx, configs)
		case r := <-s.ended:
			s.forget(ctx, r)
		}
	}
	go func() { // those that end now are not started again
		for range s.ended {
		}
	}()
	s.wg.Wait()
	close(s.ended)
}

// resume starts from what is saved, of all clusters, before the source has said anything. What all of them need of the
// node is registered first, so that none takes away what another one needs.
func (s *supervisor) resume(ctx context.Context) {
	configs := s.agent.registerSaved()
	for _, c := range configs {
		s.agent.Log.Info("Starting from the last config", "cluster", c.Cluster.Name, "generation", c.Generation())
	}
	s.order(configs)
	if len(configs) > 0 {
		s.ready()
	}
	for _, c := range configs {
		s.start(ctx, c.Cluster.Name, c)
	}
}

// follow makes the clusters that the source lists the node's. Others are removed.
func (s *supervisor) follow(ctx context.Context, configs []plan.Config) {
	s.order(configs)
	listed := map[string]bool{}
	for _, c := range configs {
		name := clusterOf(c)
		listed[name] = true
		if r := s.runners[name]; r != nil {
			r.deliver(c)
		} else {
			s.start(ctx, name, c)
		}
	}
	for name, r := range s.runners {
		if !listed[name] {
			r.deliver(plan.Config{})
		}
	}
	names, err := savedClusters(s.agent.StateDir) // what is saved but of no use has no runner yet
	if err != nil {
		s.agent.Log.Error("Clusters of an earlier agent not found", "error", err)
	}
	for _, name := range names {
		if s.runners[name] == nil {
			s.start(ctx, name, plan.Config{})
		}
	}
	s.ready()
}

// ready lets the agent say whether it is: it is known now which clusters the node is host of.
func (s *supervisor) ready() {
	if s.agent.Socket != nil {
		s.agent.Socket.SetReady(s.agent.readiness.missing)
	}
}

// order lets others know which clusters the node is host of, and whose wish goes first.
func (s *supervisor) order(configs []plan.Config) {
	s.agent.interfaces.follow(configs)
	var names []string
	for _, c := range configs {
		if !c.Removed() {
			names = append(names, c.Cluster.Name)
		}
	}
	s.agent.readiness.expect(names)
}

func (s *supervisor) start(ctx context.Context, cluster string, c plan.Config) {
	r := newRunner(s.agent, cluster, c)
	s.runners[cluster] = r
	s.wg.Go(func() {
		r.run(ctx)
		s.ended <- r
	})
}

// forget takes note that a runner ended: its cluster was removed. It may be there again already.
func (s *supervisor) forget(ctx context.Context, r *runner) {
	delete(s.runners, r.cluster)
	select {
	case c := <-r.updates:
		if !c.Removed() {
			s.start(ctx, r.cluster, c)
		}
	default:
	}
}

// clusterOf returns the name of the cluster that a config is for. A host whose cluster is gone still names it.
func clusterOf(c plan.Config) string {
	if c.Cluster != nil {
		return c.Cluster.Name
	}
	return c.Host.Spec.ClusterName
}

// replace puts an element into a channel of one, instead of what is there.
func replace[T any](into chan T, element T) {
	for {
		select {
		case into <- element:
			return
		default:
		}
		select {
		case <-into:
		default:
		}
	}
}
