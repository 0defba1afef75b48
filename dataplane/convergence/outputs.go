// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Output is the result of a Step. Apply Decision first, then send.
type Output struct {
	// Send is to be broadcast now; nil if there is nothing to say.
	Send *heartbeat.Message
	// SendBy is when Send has to have left. Peers may take over from a host that is silent for
	// longer: a heartbeat that leaves later is Unsent, and renews no lease.
	SendBy time.Duration
	// Wake is when to call Step with Tick at the latest.
	Wake time.Duration
	// Decision is the state of the filter; it is complete in every Output.
	Decision Decision
	// DecisionChanged is set if anything but LeaseUntil differs from the previous Output.
	DecisionChanged bool
	// View is what the host reports; ViewChanged is set if it differs from the previous Output.
	View        *View
	ViewChanged bool
	// Transitions are notable changes since the previous Output, for logs and events.
	Transitions []Transition
	// Left is set once a leaving host has handed over, or is stopped.
	Left bool
	// HoldReady is set once every live member honours the Hold that was announced.
	HoldReady bool
}

// Decision is what the filter shall do.
type Decision struct {
	// Epoch is the number of the committed round; 0 before the first.
	Epoch uint32
	// Accept are the buckets whose new connections this host accepts.
	Accept bucket.Table
	// Busy are those buckets of Accept in which a live peer still tracks connections: packets of
	// unknown connections in them may be the peer's.
	Busy bucket.Table
	// LeaseUntil is when the filter must stop accepting new connections by itself, on the clock of
	// Step; 0 means at once.
	LeaseUntil time.Duration
	// Policy is the digest by which Accept is meant, PolicyGeneration its generation; 0 before the
	// first commit.
	Policy           uint64
	PolicyGeneration int64
}
