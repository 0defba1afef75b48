// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

const (
	// holdTimeout is how long an agent that ends waits for its peers to honour its hold.
	holdTimeout = 2 * time.Second
	// leaveTimeout is how long it waits for them to take its buckets over.
	leaveTimeout = 10 * time.Second
	// linger is how long a host that leaves goes on with the connections it has: those that were
	// just accepted get their answer.
	linger = 3 * time.Second
)

// end is the last act of a member: it holds its place for the next agent, or leaves and cleans up.
func (m *member) end(ctx context.Context) error {
	stopping := ctx.Err() != nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), judgeTimeout+2*leaveTimeout+linger+teardownTimeout)
	defer cancel()
	if !stopping {
		return m.depart(ctx)
	}
	j, err := m.judge(ctx)
	if err != nil {
		return err
	}
	if j.ending == EndingRestart {
		return m.hold(ctx)
	}
	m.log.Info("Ending for good", "reason", j.why)
	m.reporter.ended = j.why
	err = m.depart(ctx)
	m.report()
	if err == nil && j.ending == EndingRemoval {
		err = Cleanup(ctx, m.agent.Config)
	}
	return err
}

// hold asks the peers for patience with a restart, and leaves the next agent what it needs to go on.
func (m *member) hold(ctx context.Context) error {
	m.log.Info("Ending, the filter goes on for the next agent", "hold", m.agent.RestartHold)
	if err := m.step(ctx, convergence.Hold{Duration: m.agent.RestartHold}); err != nil {
		return err
	}
	if err := m.stepUntil(ctx, holdTimeout, func() bool { return m.out.HoldReady }); err != nil {
		return err
	}
	snapshot, err := m.machine.Snapshot()
	if err != nil {
		return err
	}
	return errors.Join(m.agent.state.saveSnapshot(snapshot), m.node.close())
}

// leave hands the buckets over, lets connections finish for a moment, and takes leave then: peers ask only
// members which connections they still have, and would reset those of a host that is gone.
func (m *member) leave(ctx context.Context) error {
	m.log.Info("Leaving the cluster")
	if m.out.Decision.LeaseUntil != 0 {
		if err := m.finish(ctx); err != nil {
			return err
		}
	}
	if err := m.step(ctx, convergence.Leave{}); err != nil {
		return err
	}
	return m.stepUntil(ctx, leaveTimeout, func() bool { return m.out.Left })
}

// finish takes no new connections any more, and waits for those that there are.
func (m *member) finish(ctx context.Context) error {
	if err := m.step(ctx, convergence.AdminStateChanged{State: convergence.Drained}); err != nil {
		return err
	}
	released := func() bool { return m.out.Decision.Accept == bucket.Table{} }
	if err := m.stepUntil(ctx, leaveTimeout, released); err != nil {
		return err
	}
	since := filter.Now()
	m.sampler.sweepSoon(since)
	return m.stepUntil(ctx, linger, func() bool { return m.sampler.sweptAt > since && m.idle() })
}

// idle reports whether no connection was left at the last look.
func (m *member) idle() bool {
	for _, idle := range m.reporter.sample.connections.Idle {
		if idle != bucket.All {
			return false
		}
	}
	return true
}

// stepUntil goes on taking part until done or the time is over.
func (m *member) stepUntil(ctx context.Context, limit time.Duration, done func() bool) error {
	sample := time.NewTicker(sampleInterval)
	defer sample.Stop()
	for end := filter.Now() + limit; !done(); {
		now := filter.Now()
		if now >= end {
			return nil
		}
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case message := <-m.received:
			err = m.step(ctx, convergence.Received{Message: message})
		case list := <-m.lists:
			err = m.heed(ctx, list)
		case <-sample.C:
			err = m.sample(ctx)
		case <-time.After(max(min(m.wake(), end)-now, 0)):
			err = m.step(ctx, convergence.Tick{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
