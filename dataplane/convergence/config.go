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
	// HostKey stands for the node whatever its ID, for instance a hash of its name and MAC; it
	// survives restarts. Not 0.
	HostKey uint32
	// HostName is the node's name, for messages; "" if it has none.
	HostName string
	// HostCode is random for each start.
	HostCode uint32
	// Incarnation is greater for every start of the agent on a node, for instance the wall clock in
	// nanoseconds, but at least one more than the last one stored on disk.
	Incarnation uint64
	// ClusterIP is the primary virtual IP, zero where that is an IPv6 address; ClusterKey a hash of
	// the cluster's name and primary virtual IP. Heartbeats of other clusters are ignored.
	ClusterIP  [4]byte
	ClusterKey uint32
	// HostIP is the node's own IPv4 address on the interface; for people who read a capture.
	HostIP [4]byte
	// Period is the time between two heartbeats, 50 ms to 10 s; Tolerance the number of periods a
	// host may be silent, 3 to 100.
	Period    time.Duration
	Tolerance int
}

// Policy is a config as far as convergence is concerned.
type Policy struct {
	// Generation is for reports and peers' conflict messages.
	Generation int64
	// Digest stands for all that the hosts must have in common: rules, ranges, modes, affinities,
	// virtual IPs. Not 0.
	Digest uint64
	// RuleCount is the number of port rules, for the report of hosts that have another number.
	RuleCount int
	// Slots are the policies behind the rules; slot 32 is for ports that no rule covers.
	Slots [bucket.Slots]SlotPolicy
}

// SlotPolicy is one slot of a Policy, and this host's part in it.
type SlotPolicy struct {
	// Mode is the same on all hosts and covered by Policy.Digest. Unused for slots without rules;
	// the default slot needs Multiple, or Disabled.
	Mode placement.Mode
	// Digest stands for everything that decides which packets belong to the slot and in which
	// bucket they fall. Slots whose Digest and Mode are those of the policy before go on accepting
	// while policies change; 0 never counts as equal.
	Digest uint64
	// Weight, Priority and State are this host's own: changes take effect by a round, without a new
	// Digest.
	Weight uint32
	// Priority is the host's place in a Single slot, 0..63, the lowest first. No two hosts may have
	// the same.
	Priority uint8
	State    heartbeat.RuleState
	// Name is what people call the rule; for messages.
	Name string
}
