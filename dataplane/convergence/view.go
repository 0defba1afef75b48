// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// State is the state of a host, after the states that "wlbs query" prints. The numeric values are
// part of the heartbeat.
type State uint8

// The states.
const (
	// StateStopped: no member, by its AdminState or after Leave.
	StateStopped State = iota
	// StateSuspended: stopped, and control commands are refused.
	StateSuspended
	// StateConverging: the members do not agree yet; the buckets of the last commit are served
	// meanwhile.
	StateConverging
	// StateConverged: all members committed the same round.
	StateConverged
	// StateDraining: member without buckets, by its AdminState.
	StateDraining
	// StateExcluded: live peers serve without this host, so it accepts nothing.
	StateExcluded
	// StateLeaving: handing over.
	StateLeaving
	// StateDisconnected: the interface has no carrier, so the host accepts nothing
	// (WLBS_MEDIA_DISCONNECTED).
	StateDisconnected
)

// String returns the state's name.
func (s State) String() string {
	names := [...]string{
		"Stopped", "Suspended", "Converging", "Converged", "Draining", "Excluded", "Leaving", "Disconnected",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return "Unknown"
}

// Cause says why a convergence began, after the causes of WMI's ConvergingEvent. The numeric values
// are part of the heartbeat.
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
	names := [...]string{
		"", "BadConfig", "NewMember", "Unknown", "DuplicateHostID", "NumberOfRules", "ModifiedRules", "MemberLost",
		"ModifiedParams", "MemberLeft",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "Unknown"
}

// View is what a host reports about itself and its cluster. It must not be changed.
type View struct {
	State State
	// Members are the hosts that this one takes for alive: itself always, and every peer that hears
	// it and is heard.
	Members heartbeat.Set
	// Committed are the members by the epoch in force; empty before the first.
	Committed heartbeat.Set
	// Heard are the peers from whom heartbeats come, whether they hear this host or not.
	Heard heartbeat.Set
	// Keys are the host keys of those in Heard, and this host's own, by host ID.
	Keys [heartbeat.MaxHosts + 1]uint32
	// Default is the default host: the member that owns the default slot, 0 if none does or this
	// host takes no part.
	Default uint8
	// Epoch is the number of the round in force, and Leader who led it.
	Epoch  uint32
	Leader uint8
	// Own are the buckets this host owns by that round, none while it is excluded; Decision.Accept
	// may be less during a round.
	Own bucket.Table
	// Cause, Started and Finished describe the last convergence on the clock of Step; Finished is 0
	// while it runs.
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
	// Reason is one of CauseDuplicateHostID, CauseNumberOfRules, CauseModifiedRules and
	// CauseBadConfig (equal handling priorities).
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
