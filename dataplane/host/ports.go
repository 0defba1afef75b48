// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

// Filter is the host's part of the data path. Package filter documents what each call does.
type Filter interface {
	// Apply puts a table in force, in one switch.
	Apply(table filter.Table) error
	// SetBusy replaces the Busy buckets of the table in force.
	SetBusy(busy bucket.Table) error
	// Revoke ends the lease at once, RenewLease at a time of CLOCK_MONOTONIC.
	Revoke() error
	RenewLease(until time.Duration) error

	// Counters reads what the filter counts, Connections what it tracks, after removing what is over at now.
	Counters() (filter.Counters, error)
	Connections(now time.Duration) (filter.Connections, error)

	// Held are the clients that stay with this host by extended affinity, Exceptions those that stay with peers.
	Held() (sticky.Held, error)
	DropClients(clients []sticky.Client) error
	Exceptions() (map[sticky.Client]uint8, error)
	SetExceptions(add map[sticky.Client]uint8, remove []sticky.Client) error
	// Await returns when no packet is judged any more by what was in force before the call.
	Await()
}

// Link carries the host's heartbeats to its peers.
type Link interface {
	// Send broadcasts one payload. It never waits: a payload that finds no room is lost, and an error.
	Send(payload []byte) error
}

// Node is the host's part of its node: where it stands there, and what it puts there.
type Node interface {
	// Place says where the host stands.
	Place() Place
	// Addresses are the node's own on the interface: at most one of each family, that of the primary virtual IP's first.
	Addresses() []netip.Addr
	// Refused are those of the virtual IPs that are addresses of the node itself: no host may answer for them.
	Refused(ctx context.Context, vips []netip.Addr) ([]status.Refused, error)
	// SetVIPs makes exactly these virtual IPs local, and the interface receive what is sent to them. It puts right what
	// others undid. When it returned no error, addresses of an earlier call are not local any more.
	SetVIPs(ctx context.Context, vips []netip.Addr) error
	// Announce tells the segment where the virtual IPs are.
	Announce(vips []netip.Addr) error
	// Close lets go of filter, link and node. All that was set up stays, for a host that follows.
	Close() error
	// Remove lets go, and leaves nothing of the host on the node.
	Remove(ctx context.Context) error
}

// Place says where on its node a host stands.
type Place struct {
	// Interface is the network interface's name, MAC its own address.
	Interface string
	MAC       net.HardwareAddr
	// Hook is where the filter stands.
	Hook v1alpha1.Hook
}

// InterfaceSample is what a network interface counts at one moment. Hosts on one interface share it: it must not be
// changed.
type InterfaceSample struct {
	// Running says that the interface is up and has a carrier.
	Running bool
	// Transmitted counts the packets handed to the driver.
	Transmitted uint64
	// Leaves are the transmit queues.
	Leaves []stall.Leaf
	// Err says that the interface is lost, and nothing else.
	Err error
}

// Store keeps what a host leaves to the one that follows it on the node.
type Store interface {
	// Load returns what was saved last, the zero Saved if nothing was or it is of no use.
	Load() Saved
	// Save replaces what is saved.
	Save(saved Saved) error
	// SaveSnapshot keeps the state of the convergence, TakeSnapshot returns and forgets it; nil is none.
	SaveSnapshot(content []byte) error
	TakeSnapshot() ([]byte, error)
}

// Saved is what a host leaves to the next one.
type Saved struct {
	// Config is the last one that could be used: a restarted agent serves by it although nobody can tell it what to do.
	Config plan.Config `json:"config"`
	// InForce is the one that the filter works by, if it is another: the newest waits for all hosts to hold it.
	InForce *plan.Config `json:"inForce,omitempty"`
	// Incarnation of the host that wrote this; the next one takes a greater number although the node's clock may have
	// gone back.
	Incarnation uint64 `json:"incarnation"`
}
