// SPDX-License-Identifier: Apache-2.0

// Package host is one node's part in one cluster: it feeds the convergence of the hosts with time, heartbeats and
// counters, and does to the filter, the heartbeats and the node what comes of it.
//
//   - step.go: the order in which that is done, which keeps two hosts from serving one client
//   - host.go, receive.go, update.go: what a host reacts to
//   - start.go: how it goes on where the host before it ended
//   - shutdown.go: how it ends
//   - sample.go, report.go: what it counts, and what people are told
//   - clients.go: extended affinity
//   - drain.go, roster.go, rulecounters.go, tablewatch.go, wallclock.go: small decisions without I/O
//
// All I/O goes through the interfaces in ports.go, so that every order of failures is tested without root.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

const (
	// SampleInterval is how often counters are read: often enough for the shortest stall window of 1 s.
	SampleInterval = 250 * time.Millisecond
	// receiveQueue holds one period's heartbeats of all peers.
	receiveQueue = 64
	// unknownLease is what an earlier host may have left: one that goes on for ever.
	unknownLease = time.Duration(math.MaxInt64)
	// announceInterval repeats the announcement of the virtual IPs: switches forget a static
	// neighbour's port, and a device that took a wrong answer is put right.
	announceInterval = 60 * time.Second
)

// Config is what a host is made of.
type Config struct {
	// Plan is what the host is asked to be first; Updates brings what it is asked to be then.
	Plan    *plan.Plan
	Updates <-chan plan.Config

	Filter Filter
	Link   Link
	Node   Node
	Store  Store
	// Samples has what the interface counts, every SampleInterval. The first one is there, or about to come.
	Samples <-chan InterfaceSample
	// Now is the clock of leases, CLOCK_MONOTONIC.
	Now func() time.Duration

	// Report takes the host's state for those who read it. It must not block. Conditions are those of the last report of a
	// host before this one.
	Report     func(Report)
	Conditions []metav1.Condition

	// Hold is how long peers are asked to wait for the next agent when this one ends.
	Hold time.Duration
	// Ending finds out what follows when the host is asked to end, and why. It is asked once, has judgeTimeout to answer,
	// and may take all of it.
	Ending func(context.Context) (Ending, string)

	Log *slog.Logger
}

// Host is a node while it is a host of a cluster. All its fields belong to the goroutine of Run; Receive alone may be
// called by others.
type Host struct {
	Config

	wanted  plan.Config           // what the node is asked to be
	offered *plan.Plan            // the newest plan that can be used
	plans   map[uint64]*plan.Plan // by digest: all that may come into force
	inForce *plan.Plan            // by what the filter works; nil before the first commit
	restart bool                  // the config asks for another host

	machine *convergence.Machine
	out     convergence.Output  // of the last turn
	pending []convergence.Event // for the next step
	frame   []byte              // buffer of a heartbeat

	received chan *heartbeat.Message
	identity chan heartbeat.Identity // of peers
	lists    chan []byte             // frames with lists of clients, see package sticky

	lease   time.Duration    // the filter accepts nothing new from then on
	applied *filter.Table    // what this host put into the filter, nil before the first time
	vips    []netip.Addr     // local now
	refused []status.Refused // of the plans' virtual IPs
	stale   bool             // what is applied has virtual IPs that are refused now, or lacks some that are not
	clients *clients

	incarnation  uint64
	roster       roster
	nextIdentity time.Duration // when this host says again who it is

	drain    drain
	detector *stall.Detector
	sampler  sampler
	reporter reporter
}

// New makes a host of what an earlier one left. It does not start yet.
func New(config Config) (*Host, error) {
	p := config.Plan
	h := &Host{
		Config: config, wanted: p.Config, offered: p, plans: map[uint64]*plan.Plan{p.Digest: p},
		received: make(chan *heartbeat.Message, receiveQueue),
		identity: make(chan heartbeat.Identity, receiveQueue), roster: roster{},
		lists:    make(chan []byte, receiveQueue),
		detector: newDetector(p),
		sampler:  sampler{filter: config.Filter, now: config.Now},
		reporter: reporter{conditions: config.Conditions},
		lease:    unknownLease,
	}
	if err := h.begin(); err != nil {
		return nil, err
	}
	return h, nil
}

// Wanted is what the node was asked to be last; valid after Run.
func (h *Host) Wanted() plan.Config { return h.wanted }

// Run takes part until the config makes that impossible or ctx ends, and returns how it ended. After an error the
// host's buckets may not be handed over, and what it set up is still there.
func (h *Host) Run(ctx context.Context) (Ending, error) {
	err := h.serve(ctx)
	if err != nil {
		return EndingFailure, errors.Join(err, h.Node.Close())
	}
	ending, err := h.end(ctx)
	if err != nil {
		return ending, errors.Join(err, h.Node.Close())
	}
	return ending, nil
}

func (h *Host) serve(ctx context.Context) error {
	announce := time.NewTicker(announceInterval)
	defer announce.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()

	if err := h.start(ctx); err != nil {
		return err
	}
	for !h.restart && !h.wanted.Removed() {
		wake.Reset(max(h.wake()-h.Now(), 0))
		var err error
		select {
		case <-ctx.Done():
			return nil
		case h.wanted = <-h.Updates:
			err = h.update(ctx)
		case message := <-h.received:
			err = h.step(ctx, convergence.Received{Message: message})
		case <-wake.C:
			err = h.step(ctx, convergence.Tick{})
		case s := <-h.Samples:
			h.identify()
			err = h.sample(ctx, s)
		case <-announce.C:
			err = h.maintain(ctx)
		case identity := <-h.identity:
			err = h.learn(ctx, identity)
		case list := <-h.lists:
			err = h.receiveList(ctx, list)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start takes the first step, by what the interface is like now.
func (h *Host) start(ctx context.Context) (err error) {
	s := <-h.Samples
	if s.Err != nil {
		return fmt.Errorf("interface lost: %w", s.Err)
	}
	h.drain.set(h.offered, h.Now())
	if h.reporter.sample, err = h.sampler.first(s); err != nil {
		return err
	}
	if err := h.refuse(ctx); err != nil {
		return err
	}
	if h.out.View != nil { // the first output of a machine that goes on
		if h.pending, err = h.carryOut(ctx, nil); err != nil {
			return err
		}
	}
	err = h.step(ctx, convergence.Carrier{Up: s.Running}, convergence.Offer{Policy: h.offered.Policy()},
		h.drain.adminState(h.offered))
	if err == nil {
		h.identify()
	}
	return err
}

// wake is when there is something to do though nothing happens.
func (h *Host) wake() time.Duration {
	if len(h.pending) > 0 {
		return 0
	}
	return min(h.out.Wake, h.clients.wake())
}

// maintain puts right what others on the node or the segment may have undone.
func (h *Host) maintain(ctx context.Context) error {
	if err := h.refuse(ctx); err != nil {
		return err
	}
	if err := h.step(ctx, convergence.Tick{}); err != nil {
		return err
	}
	if err := h.Node.SetVIPs(ctx, h.vips); err != nil {
		h.Log.Error("Virtual IPs not checked", "error", err)
	}
	h.announce()
	return nil
}

// announce tells the segment where the virtual IPs are, if this host lets anything in.
func (h *Host) announce() {
	if h.out.Decision.LeaseUntil == 0 {
		return
	}
	if err := h.Node.Announce(h.vips); err != nil {
		h.Log.Debug("Virtual IPs not announced", "error", err)
	}
}

func newDetector(p *plan.Plan) *stall.Detector {
	return stall.NewDetector(stall.Settings{Window: p.StallWindow, MinPackets: p.StallMinPackets})
}
