// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// snapshotVersion changes with the meaning of snapshot: an agent of another version starts anew.
const snapshotVersion = 3

// sequenceGap keeps sequence numbers apart in case the old agent sent once more after the snapshot.
const sequenceGap = 1000

// ErrNoRestore means that the snapshot cannot be used: the host has to start anew.
var ErrNoRestore = errors.New("state of the previous agent cannot be taken over")

// snapshot is a Machine at rest. To the peers the restart of an agent is a pause of the same
// incarnation.
type snapshot struct {
	Version     int
	HostID      uint8
	HostKey     uint32
	HostCode    uint32
	ClusterKey  uint32
	Incarnation uint64
	At          time.Duration
	LeaseUntil  time.Duration
	Period      time.Duration
	Tolerance   int

	AdminState       AdminState
	InForce, Offered *Policy
	Idle, Accept     bucket.Table
	Sequence         uint64
	Highest          uint32
	Promise          heartbeat.Round
	LastAcked        heartbeat.Round
	YieldedTo        uint64
	Role             role
	Pending          roundSnapshot
	Committed        roundSnapshot
	Serving          bool
	StartedAt        time.Duration
	ListenUntil      time.Duration
	Peers            []peerSnapshot

	Converging        bool
	Cause             Cause
	Started, Finished time.Duration
	Count             int
}

type roundSnapshot struct {
	ID           heartbeat.Round
	View         heartbeat.Set
	Inputs       uint64
	Result       uint32
	Cause        Cause
	Policy       uint64
	Config       uint64
	Table        bucket.Table
	DefaultOwner uint8
	Keys         [heartbeat.MaxHosts + 1]uint32
	Incarnations [heartbeat.MaxHosts + 1]uint64
	Outsiders    heartbeat.Set
	Since        time.Duration
}

type peerSnapshot struct {
	Frame                               []byte
	HeardAt, UnlistedSince, RefusedTill time.Duration
	Listed                              bool
}

// Snapshot returns the state for Restore. Take it after Hold, when Output.HoldReady is set or was
// waited for long enough, and do not Step the machine any more.
func (m *Machine) Snapshot() ([]byte, error) {
	r := &m.report
	s := snapshot{
		Version: snapshotVersion,
		HostID:  m.s.HostID, HostKey: m.s.HostKey, HostCode: m.s.HostCode, ClusterKey: m.s.ClusterKey,
		Incarnation: m.s.Incarnation, At: m.now, LeaseUntil: m.leaseEnd(), Period: m.period, Tolerance: m.tolerance,
		AdminState: m.admin, InForce: m.inForce, Offered: m.offered, Idle: m.idle, Accept: m.accept,
		Sequence: m.sequence, Highest: m.highest, Promise: m.promise, LastAcked: m.lastAcked,
		YieldedTo: m.yieldedTo, Role: m.role,
		Pending: m.pending.snapshot(), Committed: m.committed.snapshot(),
		Serving: m.serving(), StartedAt: m.startedAt, ListenUntil: m.listenUntil,
		Converging: r.converging, Cause: r.cause, Started: r.started, Finished: r.finished, Count: r.count,
	}
	for id := range each(m.live) {
		p := &m.peers[id]
		s.Peers = append(s.Peers, peerSnapshot{
			Frame: p.msg.AppendTo(nil), HeardAt: p.heardAt,
			UnlistedSince: p.unlistedSince, RefusedTill: p.refusedUntil, Listed: p.listed,
		})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("snapshot of host %d: %w", m.s.HostID, err)
	}
	return b, nil
}

// Restore returns the machine that goes on from a snapshot, in the incarnation of the snapshot. It
// fails with ErrNoRestore if the snapshot is of another host, or its lease, or the hold that the
// peers granted, is over: use New then. A snapshot may be restored once, in the same boot of the
// node: remove it from the disk before.
func Restore(s Settings, data []byte, now time.Duration) (*Machine, error) {
	var old snapshot
	if err := json.Unmarshal(data, &old); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoRestore, err)
	}
	switch {
	case old.Version != snapshotVersion:
		return nil, fmt.Errorf("%w: version %d", ErrNoRestore, old.Version)
	case old.HostID != s.HostID || old.HostKey != s.HostKey || old.ClusterKey != s.ClusterKey:
		return nil, fmt.Errorf("%w: it is of host %d (key %08x)", ErrNoRestore, old.HostID, old.HostKey)
	case now < old.At || now >= old.LeaseUntil:
		return nil, fmt.Errorf("%w: its lease is over", ErrNoRestore)
	}
	s.Incarnation, s.HostCode = old.Incarnation, old.HostCode
	m := New(s, now)
	m.period, m.tolerance, m.admin = old.Period, old.Tolerance, old.AdminState
	m.membership = memberLeaving // unless it was asked for
	if m.admin == Started || m.admin == Drained {
		m.membership = memberIn
	}
	m.inForce, m.offered = old.InForce, old.Offered
	if digestOf(m.inForce) == digestOf(m.offered) {
		m.inForce = m.offered
	}
	m.idle, m.accept, m.service = old.Idle, old.Accept, serviceNone
	if old.Serving {
		m.service = serviceActive
	}
	m.sequence, m.highest = old.Sequence+sequenceGap, old.Highest
	m.promise, m.lastAcked, m.role, m.yieldedTo = old.Promise, old.LastAcked, old.Role, old.YieldedTo
	m.pending, m.committed = m.restoreRound(old.Pending), m.restoreRound(old.Committed)
	if m.role == roleFollowing || m.role == roleAcked && m.pending.policy == nil {
		m.role = roleNone
	}
	m.startedAt, m.listenUntil = old.StartedAt, old.ListenUntil
	if !m.serving() { // the reason for that may persist, and is not in the snapshot
		m.startedAt, m.listenUntil = now, now+m.timeout()
	}
	m.lastSend, m.hasSent, m.leaseUntil = old.At, true, old.LeaseUntil
	r := &m.report
	r.converging, r.cause, r.count = old.Converging, old.Cause, old.Count
	r.started, r.finished = old.Started, old.Finished
	m.restorePeers(old.Peers)
	m.wake = now
	return m, nil
}

func (m *Machine) restorePeers(peers []peerSnapshot) {
	for _, o := range peers {
		msg, err := heartbeat.Unmarshal(o.Frame)
		if err != nil {
			continue
		}
		m.peers[msg.HostID] = peer{
			// Nobody listened here in between: the peers get a new timeout.
			msg: &msg, heardAt: m.now,
			unlistedSince: o.UnlistedSince, refusedUntil: o.RefusedTill, listed: o.Listed,
		}
		m.live = m.live.With(msg.HostID)
	}
}

func (r *round) snapshot() roundSnapshot {
	return roundSnapshot{
		ID: r.id, View: r.view, Inputs: r.inputs, Result: r.result, Cause: r.cause,
		Policy: digestOf(r.policy), Config: r.config, Table: r.table, DefaultOwner: r.defaultOwner,
		Keys: r.keys, Incarnations: r.incarnations, Outsiders: r.outsiders, Since: r.since,
	}
}

func (m *Machine) restoreRound(s roundSnapshot) round {
	return round{
		id: s.ID, view: s.View, inputs: s.Inputs, result: s.Result, cause: s.Cause,
		policy: m.held(s.Policy), config: s.Config, table: s.Table, defaultOwner: s.DefaultOwner,
		keys: s.Keys, incarnations: s.Incarnations, outsiders: s.Outsiders, since: s.Since,
	}
}
