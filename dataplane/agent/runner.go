// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

// setupRetry is the wait after a host could not be set up, or taken down.
const setupRetry = 2 * time.Second

// runner leads one cluster on this node from one host to the next: the node becomes a host, is set up anew after a
// failure or a change that a host cannot take, and is a host no longer.
type runner struct {
	agent   *agent
	cluster string
	store   *store
	log     *slog.Logger
	updates chan plan.Config // holds the newest only

	wanted     plan.Config
	conditions []metav1.Condition // of the last report
	failure    string             // that was logged last
}

func newRunner(a *agent, cluster string, c plan.Config) *runner {
	s := a.store(cluster)
	return &runner{agent: a, cluster: cluster, store: s, log: s.log, updates: make(chan plan.Config, 1), wanted: c}
}

// deliver makes c the newest config; one that was not taken yet is forgotten.
func (r *runner) deliver(c plan.Config) { replace(r.updates, c) }

// run goes on until the cluster was removed from the node or ctx ended.
func (r *runner) run(ctx context.Context) {
	for ctx.Err() == nil {
		if r.wanted.Removed() {
			r.retire(ctx)
			return
		}
		ending, err := r.serve(ctx)
		if err != nil {
			r.fail(ctx, err)
			continue
		}
		if ending == host.EndingRemoval {
			r.forget(context.WithoutCancel(ctx))
		}
	}
}

// serve is one host from its start to its end.
func (r *runner) serve(ctx context.Context) (host.Ending, error) {
	p, err := plan.New(r.wanted)
	if err != nil {
		return host.EndingFailure, err
	}
	if len(p.VIPs) == 0 {
		return host.EndingFailure, errNoVirtualIP
	}
	a, err := r.agent.interfaces.attach(ctx, r.cluster, p)
	if err != nil {
		return host.EndingFailure, err
	}
	h, err := host.New(host.Config{
		Plan: p, Updates: r.updates,
		Filter: a.filter, Link: a, Node: a, Store: r.store, Samples: a.samples, Now: filter.Now,
		Report: r.report, Conditions: r.conditions,
		Hold: r.agent.RestartHold, Ending: r.agent.ending, Log: r.log,
	})
	if err != nil {
		return host.EndingFailure, errors.Join(err, a.Close())
	}
	a.listen(h.Receive)
	r.failure = ""
	ending, err := h.Run(ctx)
	r.wanted = h.Wanted()
	return ending, err
}

// errNoVirtualIP is why a host does not join its cluster.
var errNoVirtualIP = status.Because(v1alpha1.ReasonVirtualIPConflict,
	errors.New("none of its virtual IPs is assigned to the cluster: other clusters or nodes have them"))

func (r *runner) report(report host.Report) {
	r.conditions = report.Host.Status.Conditions
	r.agent.report(report)
}

// fail says why the node is no host, and waits for news or another try.
func (r *runner) fail(ctx context.Context, err error) {
	switch {
	case err.Error() == r.failure:
	case errors.Is(err, errNoVirtualIP): // for a moment, each new cluster is that
		r.log.Info("Not serving, waiting for virtual IPs", "reason", err)
	default:
		r.log.Error("Not serving, trying again", "error", err)
	}
	r.failure = err.Error()
	r.report(host.NewReport(r.wanted, status.ReportFailure(&status.Failure{
		Now: time.Now(), Before: r.conditions,
		HostID: r.wanted.Host.Spec.HostID, HostGeneration: r.wanted.Host.Generation, Err: err,
	}), nil))
	select {
	case r.wanted = <-r.updates:
	case <-time.After(setupRetry):
	case <-ctx.Done():
	}
}

// retire leaves nothing of the cluster on the node, and says so.
func (r *runner) retire(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.agent.cleanUp(ctx, r.cluster)
		if err == nil {
			err = r.agent.released(ctx, r.cluster)
		}
		if err == nil {
			r.log.Info("Nothing of the cluster is left on this node")
			return
		}
		r.log.Error("Node not clean yet, trying again", "error", err)
		select {
		case <-time.After(setupRetry):
		case <-ctx.Done():
		}
	}
}

// forget removes what a host that left for good keeps for the next one.
func (r *runner) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	if err := r.agent.cleanUp(ctx, r.cluster); err != nil {
		r.log.Error("Node not clean", "error", err)
	}
}

// forgetTimeout bounds what is done after a host left for good.
const forgetTimeout = 10 * time.Second
