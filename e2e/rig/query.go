// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Query asks the host's agent what it takes itself for, in its first cluster.
func (h *Host) Query(ctx context.Context) (*v1alpha1.LoadBalancingHost, error) {
	return h.QueryIn(ctx, h.cluster())
}

// QueryIn does so for any cluster.
func (h *Host) QueryIn(ctx context.Context, cluster string) (*v1alpha1.LoadBalancingHost, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	is, err := h.client().Host(ctx, cluster)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", h.Name, err)
	}
	return is, nil
}

// queryTimeout bounds the wait for an agent that is frozen.
const queryTimeout = 2 * time.Second

// QueryCLI does the same as people do, with "wlbs-agent query -o json".
func (h *Host) QueryCLI(ctx context.Context) (*v1alpha1.LoadBalancingHost, error) {
	out, err := exec.CommandContext(ctx, h.rig.opts.Agent, "query", "--run-dir", h.RunDir(), "-o", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", h.Name, err)
	}
	host := &v1alpha1.LoadBalancingHost{}
	if err := json.Unmarshal(out, host); err != nil {
		return nil, fmt.Errorf("query %s: %w", h.Name, err)
	}
	return host, nil
}

// WaitConverged waits until exactly these hosts are members of one converged view, as each of them says.
func (r *Rig) WaitConverged(ctx context.Context, hosts ...*Host) error {
	var want []int32
	for _, h := range hosts {
		want = append(want, int32(h.ID))
	}
	slices.Sort(want)
	return poll(ctx, func() error {
		var epoch int64
		for i, h := range hosts {
			is, err := h.Query(ctx)
			if err != nil {
				return err
			}
			s := &is.Status
			if s.State != v1alpha1.HostConverged || !slices.Equal(s.Members, want) {
				return fmt.Errorf("%s is %s with members %v, want Converged with %v", h.Name, s.State, s.Members, want)
			}
			if s.Epoch == nil {
				return fmt.Errorf("%s reports no epoch", h.Name)
			}
			if i > 0 && *s.Epoch != epoch {
				return fmt.Errorf("%s is at epoch %d, %s at %d", h.Name, *s.Epoch, hosts[0].Name, epoch)
			}
			epoch = *s.Epoch
		}
		return nil
	})
}

// WaitStall waits until the host reports a stall of this reason; empty means none.
func (h *Host) WaitStall(ctx context.Context, reason v1alpha1.StallReason) (*v1alpha1.HostStall, error) {
	var found *v1alpha1.HostStall
	err := poll(ctx, func() error {
		is, err := h.Query(ctx)
		if err != nil {
			return err
		}
		found = is.Status.Stall
		if reasonOf(found) != reason {
			return fmt.Errorf("%s reports stall %q, want %q", h.Name, reasonOf(found), reason)
		}
		return nil
	})
	return found, err
}

func reasonOf(s *v1alpha1.HostStall) v1alpha1.StallReason {
	if s == nil {
		return ""
	}
	return s.Reason
}
