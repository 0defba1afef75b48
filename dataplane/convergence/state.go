// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// membership is where a host stands between stopped and member.
type membership uint8

const (
	// memberOut: no member. Says so a few times, then nothing.
	memberOut membership = iota
	// memberIn: is a member, or wants to become one: Started or Drained.
	memberIn
	// memberLeaving: is to stop, and hands over first.
	memberLeaving
)

func (m *Machine) stopped() bool { return m.membership == memberOut }
func (m *Machine) member() bool  { return m.membership == memberIn }
func (m *Machine) leaving() bool { return m.membership == memberLeaving }

// service says whether the host accepts new connections by a committed round.
type service uint8

const (
	// serviceNone: it has not committed a round since it started, or since it gave everything up.
	serviceNone service = iota
	// serviceActive: it serves what the committed round gives it.
	serviceActive
	// serviceExcluded: it gave everything up because live peers serve without it.
	serviceExcluded
)

func (m *Machine) serving() bool { return m.service == serviceActive }

// endService goes from s to serviceNone, and keeps any other.
func (m *Machine) endService(s service) {
	if m.service == s {
		m.service = serviceNone
	}
}

// dispute is what another host claims and this one needs to be a member. While there is one, this
// host takes part in no round.
type dispute uint8

const (
	disputeNone dispute = iota
	// disputeHostID: another host with this ID is established.
	disputeHostID
	// disputePriority: another host with one of this one's handling priorities goes before it.
	disputePriority
)

// role is the part of a host in the round that it promised itself to.
type role uint8

const (
	// roleNone: none any more. The round may be committed, or given up for good.
	roleNone role = iota
	// roleFollowing: member that has not acknowledged yet.
	roleFollowing
	// roleAcked: member that acknowledged: accepts only what the round leaves it, and commits once
	// the leader did.
	roleAcked
	// roleYielded: no member; accepts nothing until it commits a later round.
	roleYielded
)

// inRound reports whether the host is a member of a round that is under way.
func (m *Machine) inRound() bool { return m.role == roleFollowing || m.role == roleAcked }

// endRound gives up the host's part as a member of a round that is under way.
func (m *Machine) endRound() {
	if m.inRound() {
		m.role = roleNone
	}
}

// round is a proposal as one of its members or outsiders sees it.
type round struct {
	id     heartbeat.Round
	view   heartbeat.Set
	inputs uint64
	result uint32
	cause  Cause
	// Known once acknowledged:
	policy       *Policy
	config       uint64
	table        bucket.Table
	defaultOwner uint8
	// keys are the members' host keys, incarnations theirs at that time.
	keys         [heartbeat.MaxHosts + 1]uint32
	incarnations [heartbeat.MaxHosts + 1]uint64
	// outsiders had yielded to the round when it was acknowledged.
	outsiders heartbeat.Set
	// since is when the round was proposed here.
	since time.Duration
}
