// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// waitInterval is how often hosts are looked at: agents report a change of state at once.
const waitInterval = 250 * time.Millisecond

// acted reports whether a host's report speaks of its present spec.
func acted(host *v1alpha1.LoadBalancingHost) bool {
	return host.Status.ObservedGeneration != nil && *host.Status.ObservedGeneration == host.Generation
}

// reachedState reports whether a host is where a command about it leads. A drained host has stopped.
func reachedState(s selected) bool {
	if !acted(s.host) {
		return false
	}
	switch s.host.Spec.EffectiveDesiredState() {
	case v1alpha1.DesiredStateStarted:
		return s.host.Status.State == v1alpha1.HostConverged
	case v1alpha1.DesiredStateSuspended:
		return s.host.Status.State == v1alpha1.HostSuspended
	default:
		return s.host.Status.State == v1alpha1.HostStopped
	}
}

// reachedRules reports whether a member acts on its rules' states. The new bucket maps come into force with the config
// that all members hold, in a convergence.
func reachedRules(s selected) bool {
	status := &s.host.Status
	if !acted(s.host) || status.State != v1alpha1.HostConverged && status.State != v1alpha1.HostDraining {
		return false
	}
	for _, b := range status.Buckets {
		out := s.host.Spec.Rule(b.Rule).State != v1alpha1.RuleStateEnabled
		if out && b.Count != nil && *b.Count > 0 {
			return false
		}
	}
	return status.ClusterGeneration != nil && status.OfferedClusterGeneration != nil &&
		*status.ClusterGeneration == *status.OfferedClusterGeneration
}

// carried reports whether the controller has passed a command on to the host's object.
func (r *result) carried(host *v1alpha1.LoadBalancingHost) bool {
	if host.Spec.EffectiveDesiredState() != r.DesiredState {
		return false
	}
	for rule, state := range r.Rules {
		if host.Spec.Rule(rule).State != state {
			return false
		}
	}
	return true
}

// await waits until all hosts that did not refuse have done what they were told.
func (a *app) await(ctx context.Context, c *client, results []result, o *controlOptions,
	reached func(selected) bool) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	said := map[string]string{}
	for {
		pending, err := a.pending(ctx, c, results, reached)
		switch {
		case errors.Is(ctx.Err(), context.DeadlineExceeded):
			return failf(ExitTimeout, "not done after %v: %s", o.timeout, strings.Join(wordsOf(pending, said), "; "))
		case err != nil:
			return err
		case len(pending) == 0:
			return nil
		}
		for _, p := range pending {
			if name := p.who.String(); said[name] != p.words {
				said[name] = p.words
				if _, err := fmt.Fprintf(a.errOut, "waiting for %s: %s\n", name, p.words); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
	}
}

// waiting is a host that is not there yet, and where it is.
type waiting struct {
	who   selected
	words string
}

func wordsOf(pending []waiting, said map[string]string) []string {
	var out []string
	for _, p := range pending {
		out = append(out, p.who.String()+" "+p.words)
	}
	if len(out) == 0 { // the look at the hosts was cut short
		for who, w := range said {
			out = append(out, who+" "+w)
		}
	}
	return out
}

func (a *app) pending(ctx context.Context, c *client, results []result, reached func(selected) bool) ([]waiting,
	error) {
	current := map[string]*v1alpha1.LoadBalancingHost{}
	seen := map[string]bool{}
	for i := range results {
		if name := results[i].Cluster; !seen[name] {
			seen[name] = true
			hosts, err := c.hosts(ctx, name)
			if err != nil {
				return nil, err
			}
			for j := range hosts {
				current[hosts[j].Name] = &hosts[j]
			}
		}
	}
	var out []waiting
	for i := range results {
		r := &results[i]
		if r.Refused {
			continue
		}
		host := current[r.host.host.Name]
		if host == nil {
			return nil, failf(ExitNotFound, "%s is gone", r.host)
		}
		now := selected{cluster: r.host.cluster, host: host}
		switch {
		case !r.carried(host) && host.Spec.Maintenance != nil:
			out = append(out, waiting{now, words.Maintenance(host)})
		case !r.carried(host):
			out = append(out, waiting{now,
				fmt.Sprintf("its object asks for %s, not yet for the command", host.Spec.EffectiveDesiredState())})
		case !reached(now):
			out = append(out, waiting{now, progress(host)})
		}
	}
	return out, nil
}

func progress(host *v1alpha1.LoadBalancingHost) string {
	text := strings.ToLower(words.State(host))
	if host.Status.State == v1alpha1.HostDraining && host.Status.Traffic.Connections != nil {
		text += fmt.Sprintf(", %d connection(s) left", *host.Status.Traffic.Connections)
	}
	return text
}
