// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

const (
	// sweepInterval is how often tracked connections are swept.
	sweepInterval = time.Second
	// sweepShare bounds the share of time that sweeps of a large table take: 1/sweepShare.
	sweepShare = 50
	// underWay is how long a frame that was let in may be on its way to the program that tracks its connection.
	underWay = 100 * time.Millisecond
)

// sampler reads what the filter counts.
type sampler struct {
	filter      Filter
	now         func() time.Duration
	nextSweep   time.Duration
	sweptAt     time.Duration // when the last sweep began
	connections filter.Connections
}

// sample is what a host counts at one moment.
type sample struct {
	counters    filter.Counters
	connections filter.Connections
	// swept says that connections are of this moment.
	swept bool
	port  InterfaceSample
	stall stall.Sample
}

// idle reports whether no connection was left at the last look.
func (s *sample) idle() bool {
	for _, idle := range s.connections.Idle {
		if idle != bucket.All {
			return false
		}
	}
	return true
}

// applied keeps sweeps away from the moment after the filter was given another table: a bucket that it lets nothing new
// into any more is idle only when what it let in before is tracked.
func (r *sampler) applied(now time.Duration) { r.nextSweep = max(r.nextSweep, now+underWay) }

// sweepSoon asks for a sweep as soon as it can tell what the filter let in before now.
func (r *sampler) sweepSoon(now time.Duration) { r.nextSweep = now + underWay }

// first reads what an earlier agent left in the filter, so that the first report has it: counters and the number of
// connections. Which buckets they are in only the filter of the first decision tells.
func (r *sampler) first(port InterfaceSample) (sample, error) {
	counters, err := r.filter.Counters()
	if err != nil {
		return sample{}, fmt.Errorf("counters: %w", err)
	}
	if r.connections, err = r.filter.Connections(r.now()); err != nil {
		return sample{}, fmt.Errorf("tracked connections: %w", err)
	}
	return sample{counters: counters, connections: r.connections, port: port}, nil
}

func (r *sampler) read(port InterfaceSample, out *convergence.Output) (sample, error) {
	now := r.now()
	counters, err := r.filter.Counters()
	if err != nil {
		return sample{}, fmt.Errorf("counters: %w", err)
	}
	s := sample{counters: counters, port: port}
	if s.swept = now >= r.nextSweep; s.swept {
		if r.connections, err = r.filter.Connections(now); err != nil {
			return sample{}, fmt.Errorf("tracked connections: %w", err)
		}
		r.sweptAt = now
		r.nextSweep = now + max(sweepInterval, sweepShare*(r.now()-now))
	}
	s.connections = r.connections
	s.stall = stallSample(now, &counters, port.Leaves, out)
	return s, nil
}

// sample reads the counters, judges them, and lets peers and people know.
func (h *Host) sample(ctx context.Context, port InterfaceSample) error {
	if port.Err != nil {
		return fmt.Errorf("interface lost: %w", port.Err)
	}
	s, err := h.sampler.read(port, &h.out)
	if err != nil {
		return err
	}
	s.stall.Peers = peersOf(h.machine.PeerTraffic())
	verdict, changed := h.detector.Observe(s.stall)
	if changed {
		h.Log.Info("Stall verdict changed", "reason", verdict.Reason, "queue", verdict.Queue, "message", verdict.Message)
	}
	h.reporter.sample, h.reporter.verdict = s, verdict
	events := []convergence.Event{convergence.Carrier{Up: port.Running}, convergence.Traffic{
		PacketsHandled: uint32(s.counters.Admitted),
		SYNs:           uint32(s.stall.SYNs - s.stall.RepeatedSYNs), // clients, not their attempts
		Handshakes:     uint32(s.counters.HandshakesCompleted),
		StallReason:    stall.Code(verdict.Reason),
		Evict:          h.offered.StallEvicts && verdict.Stalled(),
	}}
	if s.swept {
		more, err := h.swept(&s)
		if err != nil {
			return err
		}
		events = append(events, more...)
	}
	if err := h.step(ctx, events...); err != nil {
		return err
	}
	h.report()
	return nil
}

// swept takes note of what is tracked at this moment, and returns what the state machine has to know of it.
func (h *Host) swept(s *sample) ([]convergence.Event, error) {
	h.watchTable(s)
	begun := h.Now()
	if err := h.clients.swept(h.applied); err != nil {
		return nil, err
	}
	h.sampler.nextSweep += sweepShare * (h.Now() - begun)
	events := []convergence.Event{convergence.Idle{Table: s.connections.Idle}}
	if h.drain.over(s.stall.At, h.out.View.State, s.connections.Count, s.connections.HalfOpen) {
		h.Log.Info("Drained, stopping", "connectionsCut", s.connections.Count)
		events = append(events, convergence.AdminStateChanged{State: convergence.Stopped})
	}
	return events, nil
}

// watchTable notices when there is no room for new connections, and when there is again.
func (h *Host) watchTable(s *sample) {
	h.reporter.table.size = h.offered.Connections
	if !h.reporter.table.observe(s.connections.Count, s.counters.Untracked) {
		return
	}
	if h.reporter.table.full {
		h.Log.Warn("Connection table full", "message", h.reporter.table.message())
	} else {
		h.Log.Info("Connection table has room again", "connections", s.connections.Count)
	}
}

// stallSample has no request for an address in it while the host lets nothing in: it answers none then, by design.
func stallSample(now time.Duration, c *filter.Counters, leaves []stall.Leaf, out *convergence.Output) stall.Sample {
	s := stall.Sample{
		At:           now,
		Admitted:     c.Admitted,
		Delivered:    c.Delivered,
		Answered:     c.Answered,
		SYNs:         c.SYNDelivered,
		RepeatedSYNs: c.SYNRepeated,
		SYNACKs:      c.SYNACK,
		RSTs:         c.RST,
		Completed:    c.HandshakesCompleted,
		Leaves:       leaves,
	}
	if out.Decision.LeaseUntil != 0 {
		s.AddressAsked, s.AddressAnswered = c.ResolutionAsked, c.ResolutionAnswered
	}
	for i, q := range c.Queues {
		s.Queues = append(s.Queues, stall.Queue{Index: i, Admitted: q.Admitted, Delivered: q.Delivered})
	}
	if view := out.View; view != nil {
		s.HeartbeatsUnheard = view.State == convergence.StateExcluded && view.Heard&^view.Members != 0
	}
	return s
}

// peersOf has what the peers say of their clients; their heartbeats leave repeated requests out already.
func peersOf(traffic []convergence.PeerTraffic) []stall.Peer {
	var peers []stall.Peer
	for _, t := range traffic {
		peers = append(peers, stall.Peer{ID: t.HostID, SYNs: uint64(t.SYNs), Completed: uint64(t.Handshakes)})
	}
	return peers
}
