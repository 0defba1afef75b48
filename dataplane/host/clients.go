// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

// clientsTimeout is how long a gained bucket waits for the lists of clients of its peers.
const clientsTimeout = 2 * time.Second

// clients is extended affinity on one host: who stays here, who stays with peers, and what to wait for.
type clients struct {
	log      *slog.Logger
	filter   Filter
	now      func() time.Duration
	exchange *sticky.Exchange
	gate     sticky.Gate
	// state is what the state machine was told last to be, mayHold whether clients may stay here by what came of it.
	state   convergence.AdminState
	mayHold bool
	// synced says that the lists of all members are known, waiting that gained buckets wait for that.
	synced, waiting bool
	// failedEpoch is the last one in which a bucket was opened without.
	failedEpoch uint32
	// full says that not all clients of peers find room.
	full bool
}

// newClients takes over what an agent before this one left in the filter.
func newClients(
	p *plan.Plan, s convergence.Settings, f Filter, now func() time.Duration, log *slog.Logger,
) (*clients, error) {
	exceptions, err := f.Exceptions()
	if err != nil {
		return nil, fmt.Errorf("clients of peers: %w", err)
	}
	c := &clients{log: log, filter: f, now: now, exchange: sticky.New(sticky.Settings{
		HostID: p.HostID, ClusterKey: s.ClusterKey, Incarnation: s.Incarnation, ClusterIP: s.ClusterIP, HostIP: s.HostIP,
		Version: uint32(now() / time.Millisecond), // runs faster than versions are made
	})}
	c.exchange.Adopt(exceptions)
	return c, nil
}

// note takes note of what the state machine is told.
func (c *clients) note(events []convergence.Event) {
	for _, e := range events {
		switch e := e.(type) {
		case convergence.AdminStateChanged:
			c.state = e.State
		case convergence.Leave:
			c.state = convergence.Stopped
		}
	}
}

// follow takes what peers' heartbeats say of their lists, and reports whether the filter's table depends on it.
func (c *clients) follow(peers []convergence.PeerClients, d *convergence.Decision) (changed bool, err error) {
	known := make([]sticky.Peer, 0, len(peers))
	for _, p := range peers {
		if p.Incarnation != 0 {
			known = append(known, sticky.Peer{HostID: p.HostID, Incarnation: p.Incarnation, Version: p.Version})
		}
	}
	c.exchange.Follow(known)
	if err := c.except(); err != nil {
		return false, err
	}
	c.synced = !c.full && len(known) == len(peers)
	for _, p := range peers {
		c.synced = c.synced && p.Released &&
			c.exchange.Has(sticky.Peer{HostID: p.HostID, Incarnation: p.Incarnation, Version: p.Version})
	}
	may := c.state == convergence.Started && d.LeaseUntil != 0
	changed = c.waiting || may != c.mayHold
	c.mayHold = may
	return changed, nil
}

// except puts the clients of peers into the filter.
func (c *clients) except() error {
	add, remove := c.exchange.Exceptions()
	if len(add) == 0 && len(remove) == 0 {
		return nil
	}
	err := c.filter.SetExceptions(add, remove)
	full := errors.Is(err, filter.ErrExceptionsFull)
	if full != c.full {
		c.full = full
		c.log.Warn("Room for clients that stay with other hosts", "enough", !full)
	}
	if err == nil || full {
		return nil
	}
	return fmt.Errorf("clients of peers: %w", err)
}

// open takes the buckets that are the host's and returns those that are open to new clients.
func (c *clients) open(p *plan.Plan, d *convergence.Decision) bucket.Table {
	out := c.gate.Pass(d.Accept, p.StickySlots(), c.synced, c.now(), clientsTimeout)
	c.waiting = out.Waiting
	if out.Failed {
		c.failedEpoch = d.Epoch
		c.log.Error("Serving without the clients' lists of all members: some clients may change hosts",
			"reason", v1alpha1.CauseStickinessSynchronizationFailure, "waited", clientsTimeout)
	}
	return out.Accept
}

// applied takes note of what the filter works by now. A list without the clients of buckets that were just lost must
// not be announced.
func (c *clients) applied(before, now *filter.Table) error {
	for i := range now.Slots {
		is := &now.Slots[i]
		was := filter.Slot{Own: bucket.All}
		if before != nil {
			was = before.Slots[i]
		}
		if (was.Sticky|is.Sticky) != 0 && (was.Own.Minus(is.Own) != 0 || was.Sticky != is.Sticky) {
			c.filter.Await()
			return c.list()
		}
	}
	return nil
}

// list brings this host's list up to date, after giving up clients that are others'.
func (c *clients) list() error {
	held, err := c.filter.Held()
	if err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	if lost := c.exchange.Lost(&held); len(lost) > 0 {
		c.log.Info("Clients go to other hosts, who hold them too", "clients", len(lost))
		if err := c.filter.DropClients(lost); err != nil {
			return fmt.Errorf("clients: %w", err)
		}
		if held, err = c.filter.Held(); err != nil {
			return fmt.Errorf("clients: %w", err)
		}
	}
	c.exchange.Publish(held.Away)
	return nil
}

// swept brings the lists up to date after the filter removed the clients whose time is over.
func (c *clients) swept(t *filter.Table) error {
	if c.full { // there may be room now
		exceptions, err := c.filter.Exceptions()
		if err != nil {
			return fmt.Errorf("clients of peers: %w", err)
		}
		c.exchange.Applied(exceptions)
	}
	for i := range t.Slots {
		if t.Slots[i].Sticky != 0 {
			return c.list()
		}
	}
	return nil
}

// wake is when there is something to do for clients.
func (c *clients) wake() time.Duration {
	return min(c.exchange.Wake(), c.gate.Until(clientsTimeout))
}
