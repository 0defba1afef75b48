// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// Settings are what a host knows from its start and never changes.
type Settings struct {
	// HostID is the host's ID, 1..32.
	HostID uint8
	// HostKey stands for the node whatever its ID, for instance a hash of its name and MAC; it survives restarts. Not 0.
	HostKey uint32
	// HostName is the node's name, for messages; "" if it has none.
	HostName string
	// HostCode is random for each start.
	HostCode uint32
	// Incarnation is greater for every start of the agent on a node, for instance the wall clock in nanoseconds, but at
	// least one more than the last one stored on disk.
	Incarnation uint64
	// ClusterIP is the primary virtual IP, zero where that is an IPv6 address; ClusterKey a hash of the cluster's name and
	// primary virtual IP. Heartbeats of other clusters are ignored.
	ClusterIP  [4]byte
	ClusterKey uint32
	// HostIP is the node's own IPv4 address on the interface; for people who read a capture.
	HostIP [4]byte
	// Period is the time between two heartbeats, 50 ms to 10 s; Tolerance the number of periods a host may be silent, 3 to 100.
	Period    time.Duration
	Tolerance int
}

// Policy is a config as far as convergence is concerned.
type Policy struct {
	// Generation is for reports and peers' conflict messages.
	Generation int64
	// Digest stands for all that the hosts must have in common: rules, ranges, modes, affinities, virtual IPs. Not 0.
	Digest uint64
	// RuleCount is the number of port rules, for the report of hosts that have another number.
	RuleCount int
	// Slots are the policies behind the rules; slot 32 is for ports that no rule covers.
	Slots [bucket.Slots]SlotPolicy
}

// SlotPolicy is one slot of a Policy, and this host's part in it.
type SlotPolicy struct {
	// Mode is the same on all hosts and covered by Policy.Digest. Unused for slots without rules; the default slot needs
	// Multiple, or Disabled.
	Mode placement.Mode
	// Digest stands for everything that decides which packets belong to the slot and in which bucket they fall. Slots
	// whose Digest and Mode are those of the policy before go on accepting while policies change; 0 never counts as equal.
	Digest uint64
	// Weight, Priority and State are this host's own: changes take effect by a round, without a new Digest.
	Weight uint32
	// Priority is the host's place in a Single slot, 0..63, the lowest first. No two hosts may have the same.
	Priority uint8
	State    heartbeat.RuleState
	// Name is what people call the rule; for messages.
	Name string
}

// Event is an input of Step.
type Event interface{ event() }

// Tick says only that time has passed.
type Tick struct{}

// Received is a heartbeat from the wire, decoded. The machine keeps the pointer; the message must not change.
type Received struct{ Message *heartbeat.Message }

// Named tells the name of a host, for messages.
type Named struct {
	HostKey  uint32
	HostName string
}

// Offer gives the host a policy. The one in force stays until all members offer the same digest and a round commits it.
type Offer struct{ Policy Policy }

// AdminStateChanged says what the host shall be.
type AdminStateChanged struct{ State AdminState }

// AdminState is the state that a user wants a host to have.
type AdminState uint8

// The desired states. A host is Stopped until it is told otherwise.
const (
	// Stopped hosts are no members.
	Stopped AdminState = iota
	// Started hosts are members.
	Started
	// Drained hosts are members that take no new connections. The caller changes to Stopped when the last one has ended.
	Drained
	// Suspended hosts are stopped and refuse control commands.
	Suspended
)

// Timing changes the heartbeat period (50 ms to 10 s) and tolerance (3 to 100).
type Timing struct {
	Period    time.Duration
	Tolerance int
}

// Idle tells in which buckets no connection is tracked here. It must be sampled after the last Decision was applied.
type Idle struct{ Table bucket.Table }

// Traffic holds what heartbeats carry for the peers' eyes; counters are modulo 2^32.
type Traffic struct {
	PacketsHandled   uint32
	SYNs, Handshakes uint32
	// StallReason is 0 while the host is not stalled; Evict asks to be given nothing, which is granted to less than half of the members.
	StallReason uint8
	Evict       bool
}

// Leave hands the host's buckets over; Output.Left says when that is done. Only a new Machine joins again.
type Leave struct{}

// Unsent says that the heartbeat of the last Output could not be sent: it renews no lease, and is tried again soon.
type Unsent struct{}

// Carrier says whether the interface has a carrier; a new machine takes it for granted. A host without one accepts nothing.
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

// Output is the result of a Step. Apply Decision first, then send.
type Output struct {
	// Send is to be broadcast now; nil if there is nothing to say.
	Send *heartbeat.Message
	// Wake is when to call Step with Tick at the latest.
	Wake time.Duration
	// Decision is the state of the filter; it is complete in every Output.
	Decision Decision
	// DecisionChanged is set if anything but LeaseUntil differs from the previous Output, LeaseChanged if that does.
	DecisionChanged, LeaseChanged bool
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
	// Busy are those buckets of Accept in which a live peer still tracks connections: packets of unknown connections in
	// them may be the peer's.
	Busy bucket.Table
	// LeaseUntil is when the filter must stop accepting new connections by itself, on the clock of Step; 0 means at once.
	LeaseUntil time.Duration
	// Policy is the digest by which Accept is meant, PolicyGeneration its generation; 0 before the first commit.
	Policy           uint64
	PolicyGeneration int64
}

// State is the state of a host, after the states that "wlbs query" prints. The numeric values are part of the heartbeat.
type State uint8

// The states.
const (
	// StateStopped: no member, by wish or after leaving.
	StateStopped State = iota
	// StateSuspended: stopped, and control commands are refused.
	StateSuspended
	// StateConverging: the members do not agree yet; the buckets of the last commit are served meanwhile.
	StateConverging
	// StateConverged: all members committed the same round.
	StateConverged
	// StateDraining: member without buckets, by wish.
	StateDraining
	// StateExcluded: live peers serve without this host, so it accepts nothing.
	StateExcluded
	// StateLeaving: handing over.
	StateLeaving
	// StateDisconnected: the interface has no carrier, so the host accepts nothing (WLBS_MEDIA_DISCONNECTED).
	StateDisconnected
)

// String returns the state's name.
func (s State) String() string {
	names := [...]string{"Stopped", "Suspended", "Converging", "Converged", "Draining", "Excluded", "Leaving", "Disconnected"}
	if int(s) < len(names) {
		return names[s]
	}
	return "Unknown"
}

// Cause says why a convergence began, after the causes of WMI's ConvergingEvent. The numeric values are part of the heartbeat.
type Cause uint8

// The causes.
const (
	CauseNone Cause = iota
	CauseBadConfig
	CauseNewMember
	CauseUnknown
	CauseDuplicateHostID
	CauseNumberOfRules
	CauseModifiedRules
	CauseMemberLost
	CauseModifiedParams
	CauseMemberLeft
)

// String returns the cause as the API spells it.
func (c Cause) String() string {
	names := [...]string{"", "BadConfig", "NewMember", "Unknown", "DuplicateHostID", "NumberOfRules", "ModifiedRules", "MemberLost", "ModifiedParams", "MemberLeft"}
	if int(c) < len(names) {
		return names[c]
	}
	return "Unknown"
}

// View is what a host reports about itself and its cluster. It must not be changed.
type View struct {
	State State
	// Members are the hosts that this one takes for alive: itself always, and every peer that hears it and is heard.
	Members heartbeat.Set
	// Committed are the members by the epoch in force; empty before the first.
	Committed heartbeat.Set
	// Heard are the peers from whom heartbeats come, whether they hear this host or not.
	Heard heartbeat.Set
	// Keys are the host keys of those in Heard, and this host's own, by host ID.
	Keys [heartbeat.MaxHosts + 1]uint32
	// Default is the default host: the member that owns the default slot, 0 if none does or this host takes no part.
	Default uint8
	// Epoch is the number of the round in force, and Leader who led it.
	Epoch  uint32
	Leader uint8
	// Own are the buckets this host owns by that round, none while it is excluded; Decision.Accept may be less during a round.
	Own bucket.Table
	// Cause, Started and Finished describe the last convergence on the clock of Step; Finished is 0 while it runs.
	Cause             Cause
	Started, Finished time.Duration
	// Convergences counts how often the host entered the converging state.
	Convergences int
	// PolicyInForce and PolicyOffered are generations.
	PolicyInForce, PolicyOffered int64
	// Conflicts name the hosts that contradict each other, in a fixed order.
	Conflicts []Conflict
	// Stalled are the stall reasons that live peers report, indexed by host ID.
	Stalled [heartbeat.MaxHosts + 1]uint8
}

// Conflict is a contradiction between two hosts that keeps one of them out.
type Conflict struct {
	// Reason is one of CauseDuplicateHostID, CauseNumberOfRules, CauseModifiedRules and CauseBadConfig (equal handling priorities).
	Reason Cause
	// Hosts are the host IDs: the established one first.
	Hosts [2]uint8
	// Keys are the hosts' keys, which tell them apart where their IDs are equal.
	Keys [2]uint32
	// Message explains it, with names and numbers.
	Message string
}

// Transition is a notable change.
type Transition struct {
	Kind TransitionKind
	// Host is the host ID it is about.
	Host uint8
	// Message says it in a sentence.
	Message string
}

// TransitionKind is the kind of a Transition; constant strings for logs and event reasons.
type TransitionKind string

// The kinds.
const (
	TransitionMemberJoined     TransitionKind = "MemberJoined"
	TransitionMemberLost       TransitionKind = "MemberLost"
	TransitionMemberLeft       TransitionKind = "MemberLeft"
	TransitionConverging       TransitionKind = "Converging"
	TransitionConverged        TransitionKind = "Converged"
	TransitionExcluded         TransitionKind = "Excluded"
	TransitionPartitionMerged  TransitionKind = "PartitionMerged" // WLBS event 18
	TransitionConflict         TransitionKind = "Conflict"
	TransitionConflictResolved TransitionKind = "ConflictResolved"
	TransitionOverslept        TransitionKind = "Overslept"
	TransitionCarrierLost      TransitionKind = "CarrierLost"
	TransitionCarrierBack      TransitionKind = "CarrierBack"
	TransitionPolicyInForce    TransitionKind = "PolicyInForce"
)
