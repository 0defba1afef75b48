// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Event is an input of Step.
type Event interface{ event() }

// Tick says only that time has passed.
type Tick struct{}

// Received is a heartbeat from the wire, decoded. The machine keeps the pointer; the message must
// not change.
type Received struct{ Message *heartbeat.Message }

// Named gives the node name of a host, for messages.
type Named struct {
	HostKey  uint32
	HostName string
}

// Offer gives the host a policy. The one in force stays until all members offer the same digest and
// a round commits it.
type Offer struct{ Policy Policy }

// AdminStateChanged says what the host shall be.
type AdminStateChanged struct{ State AdminState }

// AdminState is the administrative state: what an operator wants a host to be.
type AdminState uint8

// The administrative states. A new host is Stopped.
const (
	// Stopped hosts are no members.
	Stopped AdminState = iota
	// Started hosts are members.
	Started
	// Drained hosts are members that take no new connections. The caller changes to Stopped when
	// the last one has ended.
	Drained
	// Suspended hosts are stopped and refuse control commands.
	Suspended
)

// Timing changes the heartbeat period (50 ms to 10 s) and tolerance (3 to 100).
type Timing struct {
	Period    time.Duration
	Tolerance int
}

// Idle tells in which buckets no connection is tracked here. It must be sampled after the last
// Decision was applied.
type Idle struct{ Table bucket.Table }

// Traffic holds what heartbeats carry for the peers' eyes; counters are modulo 2^32.
type Traffic struct {
	PacketsHandled   uint32
	SYNs, Handshakes uint32
	// StallReason is 0 while the host is not stalled; Evict asks to be given nothing, which is
	// granted to less than half of the members.
	StallReason uint8
	Evict       bool
}

// Leave hands the host's buckets over for good; Output.Left says when that is done. Only a new
// Machine joins again.
type Leave struct{}

// Unsent says that the heartbeat of the last Output could not be sent, or not by Output.SendBy: it
// renews no lease, and is tried again soon.
type Unsent struct{}

// Carrier says whether the interface has a carrier; a new machine assumes that it has. A host
// without one accepts nothing.
type Carrier struct{ Up bool }

// Hold announces that the host will be silent for up to Duration, for a restart of its agent.
type Hold struct{ Duration time.Duration }

func (Tick) event()              {}
func (Received) event()          {}
func (Named) event()             {}
func (Offer) event()             {}
func (AdminStateChanged) event() {}
func (Timing) event()            {}
func (Idle) event()              {}
func (Traffic) event()           {}
func (Leave) event()             {}
func (Hold) event()              {}
func (Unsent) event()            {}
func (Carrier) event()           {}
