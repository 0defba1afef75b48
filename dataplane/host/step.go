// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// maxTurns bounds what one step leads to at once: a heartbeat that did not leave, and a policy that came into force,
// make a turn each.
const maxTurns = 4

// step lets the state machine take events, and does what comes of it.
func (h *Host) step(ctx context.Context, events ...convergence.Event) error {
	events = append(h.pending, events...)
	h.pending = nil
	for turn := 0; len(events) > 0; turn++ {
		if turn == maxTurns {
			h.pending = events
			return nil
		}
		var err error
		if events, err = h.turn(ctx, events); err != nil {
			return err
		}
	}
	return nil
}

// turn is one call of the state machine, and all that it asks for.
func (h *Host) turn(ctx context.Context, events []convergence.Event) (next []convergence.Event, err error) {
	h.out = h.machine.Step(h.Now(), events...)
	return h.carryOut(ctx, events)
}

// carryOut does what the state machine asks for. The order is what keeps two hosts from serving one client:
//
//  1. release: the filter works by the decision. Buckets that the host gave up take nothing new from now on, and a
//     lease that is to end sooner, as after a hold, does.
//  2. send: the heartbeat says so, and peers may take the buckets.
//  3. renew: the lease goes on only if the heartbeat left in time. Who cannot be heard stops before the peers take
//     over.
//
// An error ends the host: nothing that was decided after it is sent. The events that carryOut returns are to be taken
// next.
func (h *Host) carryOut(ctx context.Context, events []convergence.Event) (next []convergence.Event, err error) {
	policyChanged := h.putInForce(h.out.Decision.Policy)
	if err := h.release(ctx, events, policyChanged); err != nil {
		return nil, err
	}
	sent := h.out.Send == nil || h.send(h.out.Send)
	if err := h.renew(sent); err != nil {
		return nil, err
	}
	h.sendLists()
	h.notice(policyChanged)

	if !sent {
		next = append(next, convergence.Unsent{})
	}
	if policyChanged {
		next = append(next, convergence.Timing{Period: h.inForce.Period, Tolerance: h.inForce.Tolerance})
	}
	return next, nil
}

// putInForce makes the plan of a digest the one by which the filter works, and reports whether it is another one.
func (h *Host) putInForce(digest uint64) bool {
	p := h.plans[digest]
	if p == nil || p == h.inForce {
		return false
	}
	h.inForce = p
	h.save()
	return true
}

// release makes the filter work by what was decided.
func (h *Host) release(ctx context.Context, events []convergence.Event, policyChanged bool) error {
	d := &h.out.Decision
	h.clients.note(events)
	clientsChanged, err := h.clients.follow(h.machine.PeerClients(), d)
	if err != nil {
		return err
	}
	if h.out.DecisionChanged || policyChanged || clientsChanged || h.stale || h.applied == nil {
		if err := h.apply(ctx, d); err != nil {
			return err
		}
	}
	if d.LeaseUntil < h.lease {
		return h.setLease(d.LeaseUntil)
	}
	return nil
}

// setLease lets the filter accept until then, or nothing any more if until is 0.
func (h *Host) setLease(until time.Duration) error {
	set := func() error { return h.Filter.RenewLease(until) }
	if until == 0 {
		set = h.Filter.Revoke
	}
	if err := set(); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	h.lease = until
	return nil
}

// apply lets the filter work by a decision. Peers' connections come and go between epochs: they alone do not
// make a new table. Before the first commit the filter lets nothing in, by the plan that is offered.
func (h *Host) apply(ctx context.Context, d *convergence.Decision) error {
	p := h.planInForce()
	open := *d
	open.Accept = h.clients.open(p, d)
	table := withoutVIPs(p.Table(&open, h.clients.mayHold), h.refused)
	if h.applied != nil && differInBusyOnly(h.applied, &table) {
		if err := h.Filter.SetBusy(d.Busy); err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		h.applied = &table
		return nil
	}
	if err := h.Filter.Apply(table); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	h.sampler.applied(h.Now())
	if err := h.Node.SetVIPs(ctx, table.VIPs); err != nil {
		return fmt.Errorf("virtual IPs: %w", err)
	}
	h.vips = table.VIPs
	before := h.applied
	h.applied, h.stale = &table, false
	return h.clients.applied(before, &table)
}

// planInForce is the plan by which the filter works, before the first commit the one that is offered.
func (h *Host) planInForce() *plan.Plan {
	if h.inForce != nil {
		return h.inForce
	}
	return h.offered
}

func differInBusyOnly(a, b *filter.Table) bool {
	same := a.Epoch == b.Epoch && slices.Equal(a.VIPs, b.VIPs) && slices.Equal(a.Rules, b.Rules)
	for i := range a.Slots {
		before, after := a.Slots[i], b.Slots[i]
		before.Busy = after.Busy
		same = same && before == after
	}
	return same
}

// send sends a heartbeat, with the version of the list of clients as it is now, and reports whether it left in time: a
// process that is starved between decision and sending may come too late, after its peers took over.
func (h *Host) send(message *heartbeat.Message) bool {
	stamped := *message
	stamped.ClientsVersion = h.clients.exchange.Version()
	h.frame = stamped.AppendTo(h.frame[:0])
	err := h.Link.Send(h.frame)
	h.reporter.sendError = err
	if err != nil {
		h.Log.Debug("Heartbeat not sent", "error", err)
	}
	if late := h.Now() - h.out.SendBy; err == nil && late >= 0 {
		h.Log.Warn("Heartbeat sent too late, peers may have taken over", "late", late)
		return false
	}
	return err == nil
}

// renew lets the filter accept for as long as the peers wait for this host, who heard the heartbeat if it was sent.
func (h *Host) renew(sent bool) error {
	if until := h.out.Decision.LeaseUntil; sent && until > h.lease {
		return h.setLease(until)
	}
	return nil
}

// sendLists sends what is due of the lists of clients. What the interface's queue has no room for, peers ask for again.
func (h *Host) sendLists() {
	for _, frame := range h.clients.exchange.Send(h.Now()) {
		if err := h.Link.Send(frame); err != nil {
			h.Log.Debug("List of clients not sent", "error", err)
			return
		}
	}
}

// notice lets people know what changed.
func (h *Host) notice(policyChanged bool) {
	for _, t := range h.out.Transitions {
		h.Log.Info("Cluster changed", "kind", string(t.Kind), "host", t.Host, "message", t.Message)
		if t.Kind == convergence.TransitionConverged {
			h.announce()
		}
	}
	if h.out.ViewChanged || policyChanged {
		h.report()
	}
}
