// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
)

// How a host ends:
//
//	            ┌───────────────────── serves ─────────────────────┐
//	            │ asked to end                                     │ the config asks for it
//	            ▼                                                  │
//	     judge: what follows?                                      │
//	            │                                                  │
//	 restart    │    shutdown, removal                             │
//	   ┌────────┴─────────┐                                        │
//	   ▼                  ▼                                        ▼
//	 hold ──────────┐   leave ◄────────────────────────────────────┘
//	   │ peers wait │     1. drain: no new connections, peers take the buckets
//	   ▼            │     2. a moment for the connections that there are
//	 snapshot       │     3. announce that it leaves
//	   │            │     │
//	   ▼            │     ▼
//	 Node.Close     │   Node.Remove
//	 all stays      │   nothing stays on the node
//	                └─► an error at any place: Node.Close, and the lease ends by itself
//
// What is saved of the config stays in all cases; whoever runs the host forgets it after EndingRemoval.

// Ending is how a host ended, and what follows it.
type Ending uint8

// The endings.
const (
	// EndingFailure: an error ended the host. It is to be tried again.
	EndingFailure Ending = iota
	// EndingConfig: the config asks for another host, or for none. The host left.
	EndingConfig
	// EndingRestart: another agent takes over on this node in a moment. The host holds its place.
	EndingRestart
	// EndingShutdown: the node goes down, or nobody can tell that another agent follows. The host left, and
	// its last config stays for an agent that starts after a reboot.
	EndingShutdown
	// EndingRemoval: no agent follows. The host left, and nothing shall stay on the node.
	EndingRemoval
)

const (
	// judgeTimeout bounds the search for what follows. The host goes on serving meanwhile.
	judgeTimeout = 3 * time.Second
	// holdTimeout is how long a host that holds waits for its peers to honour that.
	holdTimeout = 2 * time.Second
	// leaveTimeout is how long a host that leaves waits for its peers to take its buckets over.
	leaveTimeout = 10 * time.Second
	// drainTimeout is how long a host that leaves goes on with the connections it has: those that were
	// just accepted get their answer.
	drainTimeout = 3 * time.Second
	// removeTimeout bounds what is done on the node in the end.
	removeTimeout = 10 * time.Second
)

// ShutdownTimeout is the longest that Run goes on after its context ended.
const ShutdownTimeout = judgeTimeout + 2*leaveTimeout + drainTimeout + removeTimeout

// end ends the host: it announces a hold for the next agent, or leaves.
func (h *Host) end(ctx context.Context) (Ending, error) {
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ShutdownTimeout)
	defer cancel()
	if !stopping {
		return EndingConfig, h.leave(ctx)
	}
	ending, why, err := h.judge(ctx)
	if err != nil {
		return EndingFailure, err
	}
	if ending == EndingRestart {
		return ending, h.hold(ctx)
	}
	h.Log.Info("Ending for good", "reason", why)
	h.reporter.ended = why
	err = h.leave(ctx)
	h.report()
	return ending, err
}

// judge finds out what follows. A host that cannot tell leaves: a hold in vain costs its clients more than a leave in
// vain.
func (h *Host) judge(ctx context.Context) (ending Ending, why string, err error) {
	type judgement struct {
		ending Ending
		why    string
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	found := make(chan judgement, 1)
	go func() {
		ending, why := h.Ending(ctx)
		found <- judgement{ending, why}
	}()
	j := judgement{EndingShutdown, "the agent was asked to end, and could not find out why in time"}
	known := false
	err = h.stepUntil(ctx, judgeTimeout, func() bool {
		select {
		case j = <-found:
			known = true
		default:
		}
		return known
	})
	if ctx.Err() != nil {
		err = nil // that is an answer too
	}
	return j.ending, j.why, err
}

// hold asks the peers to wait for a restart, and leaves the next agent what it needs to go on. Nothing is removed.
func (h *Host) hold(ctx context.Context) error {
	h.Log.Info("Ending, the filter goes on for the next agent", "hold", h.Hold)
	if err := h.step(ctx, convergence.Hold{Duration: h.Hold}); err != nil {
		return err
	}
	if err := h.stepUntil(ctx, holdTimeout, func() bool { return h.out.HoldReady }); err != nil {
		return err
	}
	snapshot, err := h.machine.Snapshot()
	if err != nil {
		return err
	}
	return errors.Join(h.Store.SaveSnapshot(snapshot), h.Node.Close())
}

// leave hands the buckets over, and takes everything off the node.
func (h *Host) leave(ctx context.Context) error {
	h.Log.Info("Leaving the cluster")
	if err := h.handOver(ctx); err != nil {
		h.Log.Error("Left without handing over", "error", err)
	}
	err := errors.Join(h.Filter.Revoke(), h.Node.Remove(ctx))
	if err == nil {
		h.vips = nil
	}
	return err
}

// handOver lets connections finish for a moment before it announces that it leaves: peers ask only members which
// connections they still have, and would reset those of a host that is gone.
func (h *Host) handOver(ctx context.Context) error {
	if h.out.Decision.LeaseUntil != 0 {
		if err := h.finish(ctx); err != nil {
			return err
		}
	}
	if err := h.step(ctx, convergence.Leave{}); err != nil {
		return err
	}
	return h.stepUntil(ctx, leaveTimeout, func() bool { return h.out.Left })
}

// finish takes no new connections any more, and waits for those that there are.
func (h *Host) finish(ctx context.Context) error {
	if err := h.step(ctx, convergence.AdminStateChanged{State: convergence.Drained}); err != nil {
		return err
	}
	released := func() bool { return h.out.Decision.Accept == bucket.Table{} }
	if err := h.stepUntil(ctx, leaveTimeout, released); err != nil {
		return err
	}
	since := h.Now()
	h.sampler.sweepSoon(since)
	return h.stepUntil(ctx, drainTimeout, func() bool { return h.sampler.sweptAt > since && h.reporter.sample.idle() })
}

// stepUntil goes on taking part until done or the time is over.
func (h *Host) stepUntil(ctx context.Context, limit time.Duration, done func() bool) error {
	for end := h.Now() + limit; !done(); {
		now := h.Now()
		if now >= end {
			return nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message := <-h.received:
			err = h.step(ctx, convergence.Received{Message: message})
		case list := <-h.lists:
			err = h.receiveList(ctx, list)
		case s := <-h.Samples:
			err = h.sample(ctx, s)
		case <-time.After(max(min(h.wake(), end)-now, 0)):
			err = h.step(ctx, convergence.Tick{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
