// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// identityPeriod is how often a host says who it is: NLB's IdentityHeartbeatPeriod, default and minimum.
const identityPeriod = 10 * time.Second

// introduction is how soon a host says so to one that it just heard of.
const introduction = time.Second

// identify tells peers, and people who read a capture, which node this is, if that is due. Stopped hosts are silent.
func (h *Host) identify() {
	now := h.Now()
	if now < h.nextIdentity {
		return
	}
	h.nextIdentity = now + identityPeriod
	if s := h.out.View.State; s == convergence.StateStopped || s == convergence.StateSuspended {
		return
	}
	for _, i := range h.offered.Identities(h.Node.Addresses()) {
		if err := h.Link.Send(i.AppendTo(nil)); err != nil {
			h.Log.Debug("Identity not sent", "error", err)
		}
	}
}

// learn takes note of what a peer says of itself.
func (h *Host) learn(ctx context.Context, i heartbeat.Identity) error {
	if i.ClusterKey != h.offered.ClusterKey() || i.HostKey == h.offered.HostKey() || !h.roster.note(i, h.Now()) {
		return nil
	}
	h.nextIdentity = min(h.nextIdentity, h.Now()+introduction)
	return h.step(ctx, convergence.Named{HostKey: i.HostKey, HostName: i.HostName})
}
