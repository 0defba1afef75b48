// SPDX-License-Identifier: Apache-2.0

// Package heartbeat holds the wire format of the heartbeats: the "NLB Cluster Membership HeartBeat" of
// Microsoft NLB as the Wireshark dissector packet-msnlb.c decodes it, 1496 bytes in an Ethernet frame of
// EtherType 0x886F. What WLBS does not carry sits in the 132 reserved bytes at its end (Extension).
//
// The package is pure: the link layer is in package link below it.
package heartbeat

import "github.com/kube-wlbs/kube-wlbs/dataplane/bucket"

// Size is the length in bytes of every heartbeat, the Ethernet header not counted. It never fragments, so the
// interface needs an MTU of Size or more.
const Size = 1496

// Trailer is how many bytes at the end of Size are zero: room for an authentication code.
const Trailer = 16

// EtherType of the heartbeats, registered with the IEEE for NLB (Microsoft KB Q232711).
const EtherType = 0x886F

// Version is the protocol version in the heartbeat, shown by Wireshark as 2.4: bits 15..8 major, 7..0 minor.
const Version = 0x0204

// MaxHosts is the number of host IDs, 1..MaxHosts (Microsoft KB Q223157).
const MaxHosts = 32

// Phase is the convergence state in the NLB part of the heartbeat. The values of Microsoft's are not public.
type Phase uint16

// The phases.
const (
	PhaseUnknown    Phase = 0
	PhaseConverging Phase = 1
	PhaseConverged  Phase = 2
)

// Message is one heartbeat. The sender's whole state is in it, so that a lost, repeated or overtaken one does no harm.
// Once sent or received a Message must not be changed.
type Message struct {
	// ClusterIP is the primary virtual IP; zero where that is an IPv6 address.
	ClusterIP [4]byte
	// HostIP is the sender's own ("dedicated") IPv4 address on the interface; for people who read a capture.
	HostIP [4]byte
	// HostID is the sender's host ID, 1..32.
	HostID uint8
	// DefaultHost is the default host as the sender sees it, 0 while there is none.
	DefaultHost uint8
	// Phase says whether the sender is converging.
	Phase Phase
	// RuleCount is the number of port rules that the sender's tables refer to.
	RuleCount uint16
	// HostCode is random for each start of the sender: it tells two hosts of one ID apart.
	HostCode uint32
	// PacketsHandled counts packets the sender accepted, modulo 2^32.
	PacketsHandled uint32
	// Teaming is the configuration of bi-directional affinity; always 0 here.
	Teaming uint32
	// Rules holds the settings of each slot on the sender.
	Rules [bucket.Slots]Rule
	// Current are the buckets the sender owns by the last round it committed.
	Current bucket.Table
	// New are the buckets it shall own by the round it acknowledged.
	New bucket.Table
	// Idle are the buckets in which the sender tracks no connection and accepts none.
	Idle bucket.Table
	// Ready are the buckets of which the sender's filter accepts new connections right now, or may after the next
	// heartbeat of a host that serves beside it: it only grows by a commit.
	Ready bucket.Table
	// Weights are the sender's load weights.
	Weights [bucket.Slots]uint32
	// Extension holds what NLB does not carry.
	Extension
}

// RuleState is the state of a rule on one host.
type RuleState uint8

// The states of a rule. The numeric values are part of the heartbeat.
const (
	// Enabled rules handle traffic.
	Enabled RuleState = iota
	// Drained rules take no new connections on the host.
	Drained
	// Disabled rules take no traffic on the host.
	Disabled
)

// Rule is the "port rule configuration" word of one slot: bits 31-30 mode, 29-28 state, 27-22 handling priority, 21-0
// the low bits of the slot's digest. The lowest priority goes first.
type Rule uint32

// NewRule packs a rule word. mode is 0..3, priority 0..63.
func NewRule(mode uint8, state RuleState, priority uint8, digest uint64) Rule {
	return Rule(uint32(mode&3)<<30 | uint32(state&3)<<28 | uint32(priority&63)<<22 | uint32(digest)&(1<<22-1))
}

// Mode returns the mode of the slot.
func (r Rule) Mode() uint8 { return uint8(r >> 30) }

// State returns the state of the rule on the sender.
func (r Rule) State() RuleState { return RuleState(r >> 28 & 3) }

// Of returns the word with another state.
func (r Rule) Of(state RuleState) Rule { return r&^(3<<28) | Rule(state&3)<<28 }

// Priority returns the handling priority of the sender.
func (r Rule) Priority() uint8 { return uint8(r >> 22 & 63) }

// Round orders the rounds of convergence: by number, then by the host ID of the leader. The zero Round is before all
// others.
type Round struct {
	// Number grows with every round that any host proposes.
	Number uint32
	// Leader is the host ID of the proposer.
	Leader uint8
}

// IsZero reports whether there is no round.
func (r Round) IsZero() bool { return r == Round{} }

// After reports whether r is newer than o.
func (r Round) After(o Round) bool {
	return r.Number > o.Number || r.Number == o.Number && r.Leader > o.Leader
}

// Set is a set of host IDs: bit ID-1.
type Set uint32

// SetOf returns the set of the given IDs.
func SetOf(ids ...uint8) Set {
	var s Set
	for _, id := range ids {
		s = s.With(id)
	}
	return s
}

// Has reports whether id is in the set. ID 0 is in no set.
func (s Set) Has(id uint8) bool { return id != 0 && s>>(id-1)&1 == 1 }

// With returns the set with id added.
func (s Set) With(id uint8) Set { return s | 1<<(id-1) }

// Without returns the set with id removed.
func (s Set) Without(id uint8) Set { return s &^ (1 << (id - 1)) }

// Flags are the yes-or-no parts of the sender's state.
type Flags uint16

// The flags.
const (
	// Serving: the sender committed a round in this incarnation and has not given up its buckets since.
	Serving Flags = 1 << iota
	// Following: the sender takes part in Round as a member and has not acknowledged it yet.
	Following
	// Acked: the sender acknowledged Round as a member.
	Acked
	// Yielded: the sender is no member of Round and accepts nothing until it commits a later one.
	Yielded
	// Leaving: the sender wants to be excluded.
	Leaving
	// Left: the sender is no member any more and accepts nothing.
	Left
	// Conflicted: another host with the sender's ID is established.
	Conflicted
	// TablesOffered: Rules and Weights belong to the offered policy rather than to the one in force.
	TablesOffered
	// Draining: the sender takes no new connections.
	Draining
	// Evict: the sender is stalled and asks to be given nothing.
	Evict
	// Clashing: the handling priority of the sender is that of a member, or of another host that goes before it.
	Clashing
)

// Extension is what kube-wlbs carries in the reserved words. The Trailer follows it on the wire.
type Extension struct {
	// State is the sender's state of package convergence, for people who read a capture and for peers' reports.
	State uint8
	Flags Flags
	// Incarnation grows with every start of a host; Sequence with every heartbeat of an incarnation.
	Incarnation, Sequence uint64
	// Heard are the hosts from whom the sender had a heartbeat within its timeout.
	Heard Set
	// View are the members by the round the sender committed last.
	View Set
	// Committed is the round that the sender committed last; its number is the epoch.
	Committed Round
	// Round is the newest round that the sender took part in: Flags say how.
	Round Round
	// RoundView are the members by Round, RoundInputs and RoundResult digests of what its assignment is computed from,
	// and of the assignment. The leader sets them; others repeat what they take part in.
	RoundView   Set
	RoundInputs uint64
	RoundResult uint32
	// Leader is the host that the sender follows, itself if it leads, 0 if it knows none.
	Leader uint8
	// Cause says why the sender is converging, or did last.
	Cause uint8
	// Highest is the highest round number the sender has seen.
	Highest uint32
	// InForce and Offered are digests of the policies that the sender filters by and that it holds ready; 0 is none.
	InForce, Offered uint64
	// OfferedGeneration is the generation of the offered policy, modulo 2^32.
	OfferedGeneration uint32
	// TimeoutMillis is how long the sender may be silent before peers take it for lost.
	TimeoutMillis uint32
	// HoldMillis, if not 0, announces a planned silence of that many milliseconds from this heartbeat on.
	HoldMillis uint32
	// HoldsHeard are the hosts whose announced holds the sender honours.
	HoldsHeard Set
	// HostKey tells nodes apart whatever ID they claim; it survives restarts.
	HostKey uint32
	// ClusterKey tells clusters apart whose primary virtual IP looks alike.
	ClusterKey uint32
	// SYNs delivered to the sender's stack and Handshakes completed there, both modulo 2^32, for the peers' comparison.
	SYNs, Handshakes uint32
	// ClientsVersion is the version of the sender's list of clients that stay with it by extended affinity outside of its
	// own buckets, see package sticky: 24 bits, 0 for an empty list.
	ClientsVersion uint32
	// StallReason is 0 or the stage at which the sender's traffic stands still.
	StallReason uint8
}
