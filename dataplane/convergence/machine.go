// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// never is later than any deadline.
const never = time.Duration(1<<63 - 1)

// stance is what a host has to do with the round it promised itself to.
type stance uint8

const (
	// aside: nothing any more. The round may be committed, or given up for good.
	aside stance = iota
	// following: member that has not acknowledged yet.
	following
	// acked: member that acknowledged: accepts only what the round leaves it and commits when the leader did.
	acked
	// yielded: no member; accepts nothing until it commits a later round.
	yielded
)

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

// Machine is the state of one host. It is not safe for concurrent use.
type Machine struct {
	s         Settings
	now       time.Duration
	period    time.Duration
	tolerance int

	admin    AdminState
	leaveFor bool // Leave was called: for good
	left     bool
	goodbyes int // frames that still announce that the host left

	inForce, offered *Policy
	tables           *Policy // the policy that Rules and Weights of the heartbeat belong to
	traffic          Traffic
	idle             bucket.Table

	peers  [heartbeat.MaxHosts + 1]peer
	rivals [heartbeat.MaxHosts + 1]rival
	names  map[uint32]string // what hosts call themselves, by their keys
	live   heartbeat.Set     // peers heard within their timeout
	mutual heartbeat.Set     // of these, those that list this host

	// self is the heartbeat that describes this host now; sent the last one that went out.
	self, sent *heartbeat.Message
	leader     uint8
	highest    uint32

	promise heartbeat.Round
	// agreedTo is the latest round that this host acknowledged in this incarnation.
	agreedTo heartbeat.Round
	stance   stance
	pending  round // valid while following or acked
	// yieldedTo are the inputs of the round that this host yielded to.
	yieldedTo uint64

	committed round
	serving   bool
	accept    bucket.Table // what the host may accept as far as rounds go
	masked    bucket.Table // what it does not accept because another group may

	suspended   bool // gave up its buckets to live peers
	conflicted  bool // another host with this ID is established
	unplugged   bool // the interface has no carrier
	clashing    bool // another host with one of this one's handling priorities goes before it
	startedAt   time.Duration
	listenUntil time.Duration
	leavingAt   time.Duration

	lead leadership

	sequence uint64
	nextSend time.Duration
	lastSend time.Duration
	hasSent  bool
	// leaseUntil follows from the last heartbeat, priorLease from the one before.
	leaseUntil, priorLease time.Duration
	credit                 pacer
	// holdUntil is the end of an announced silence; it extends the lease once all peers honour it.
	holdUntil   time.Duration
	holdFor     time.Duration
	holdSent    bool
	holdGranted bool

	wake     time.Duration
	report   reporter
	knobs    knobs
	decision Decision
}

// knobs break rules of the protocol on purpose, for tests that must show that the checks notice.
type knobs struct {
	keepOnAck     bool // do not release at an acknowledgement
	ignoreOutside bool // acknowledge without waiting for hosts outside the view
	endlessLease  bool // let the filter accept for ever
	commitUnacked bool // commit a proposal at once
	neverYield    bool // keep serving beside another group
	noMask        bool // do not take out what another group accepts
}

// New returns the machine of a host that is Stopped. now is the time on the clock of all later Steps.
func New(s Settings, now time.Duration) *Machine {
	m := &Machine{s: s, now: now, period: s.Period, tolerance: s.Tolerance, left: true, wake: never, nextSend: now, names: map[uint32]string{}}
	m.self = &heartbeat.Message{}
	m.credit.fill(now)
	m.report.view = &View{State: StateStopped, Members: heartbeat.SetOf(s.HostID)}
	return m
}

// timeout is how long a host may be silent.
func (m *Machine) timeout() time.Duration { return m.period * time.Duration(m.tolerance) }

// lease is how long after a heartbeat the filter may accept: less than the peers wait.
func (m *Machine) lease() time.Duration { return m.timeout() - m.margin(m.timeout()) }

// margin is by how much a lease is shorter than what peers wait: a quarter period for the granularity of the kernel's coarse
// clock (at most 10 ms), and 1/64 of the time for clocks that run at different rates.
func (m *Machine) margin(d time.Duration) time.Duration { return m.period/4 + d/64 }

// Step takes events in order and returns what follows from them. now never goes back.
func (m *Machine) Step(now time.Duration, events ...Event) Output {
	m.now = max(now, m.now)
	m.noticeOversleep()
	dirty := m.now >= m.wake
	for _, e := range events {
		if m.take(e) {
			dirty = true
		}
	}
	if !dirty {
		return m.unchanged()
	}
	m.evaluate()
	return m.output()
}

// take applies one event and reports whether anything but the time of a heartbeat changed.
func (m *Machine) take(e Event) bool {
	switch e := e.(type) {
	case Received:
		return m.receive(e.Message)
	case Named:
		m.learnName(e)
	case Offer:
		m.offer(e.Policy)
	case AdminStateChanged:
		m.desire(e.State)
	case Timing:
		m.period, m.tolerance = e.Period, e.Tolerance
		m.nextSend = m.now
	case Idle:
		m.setIdle(e.Table)
		return false
	case Traffic:
		changed := m.traffic.StallReason != e.StallReason || m.traffic.Evict != e.Evict
		m.traffic = e
		return changed
	case Leave:
		m.leaveFor = true
		m.desire(Stopped)
	case Hold:
		m.hold(e.Duration)
	case Unsent:
		m.unsent()
	case Carrier:
		return m.setCarrier(e.Up)
	}
	return true
}

// desire changes the desired state.
func (m *Machine) desire(d AdminState) {
	if m.leaveFor {
		d = Stopped
	}
	was := m.member()
	m.admin = d
	switch is := m.member(); {
	case is && (!was || m.left):
		m.left, m.goodbyes, m.leavingAt = false, 0, 0
		m.startedAt = m.now
		m.listenUntil = m.now + m.timeout()
		m.nextSend = m.now
	case !is && was:
		m.leavingAt = m.now
	}
}

// member reports whether the host wants to be a member.
func (m *Machine) member() bool { return m.admin == Started || m.admin == Drained }

// leaving reports whether the host still has to hand over.
func (m *Machine) leaving() bool { return !m.member() && !m.left }

// noticeOversleep gives up the host's buckets if it was silent for so long that peers may have taken them over. One that serves
// nothing and wakes late only reads what came meanwhile before it may start alone.
func (m *Machine) noticeOversleep() {
	if late := m.period / 2; !m.left && !m.serving && m.now-late > m.wake {
		m.listenUntil = max(m.listenUntil, m.now+late)
	}
	if m.left || !m.hasSent || m.now < m.leaseEnd() {
		return
	}
	if m.serving || m.stance == following || m.stance == acked {
		m.report.transition(TransitionOverslept, m.s.HostID, "was silent for %v, longer than peers wait: accepts nothing until it converged again", m.now-m.lastSend)
		m.release()
	}
	m.listenUntil = max(m.listenUntil, m.now+m.timeout())
	for id := range each(m.live) {
		m.peers[id].heardAt = m.now
	}
	m.hasSent, m.holdUntil, m.holdGranted = false, 0, false
	m.nextSend = m.now
	m.wake = m.now
}

// leaseEnd is when the filter stops by itself.
func (m *Machine) leaseEnd() time.Duration {
	if m.knobs.endlessLease {
		return never
	}
	if m.holdGranted {
		return max(m.leaseUntil, m.holdUntil-m.margin(m.holdFor))
	}
	return m.leaseUntil
}

// release gives up everything this host accepts, and its part in a round.
func (m *Machine) release() {
	m.serving = false
	m.accept = bucket.Table{}
	if m.stance == following || m.stance == acked {
		m.stance = aside
	}
}

// evaluate lets the state follow from what is known, until nothing changes any more.
func (m *Machine) evaluate() {
	m.expire()
	if m.left || m.unplugged {
		m.clashing = false
	}
	if m.left {
		m.settleLeft()
		return
	}
	if m.unplugged {
		m.idleUnplugged()
		return
	}
	for range 4 {
		m.heedRival()
		m.meet()
		m.elect()
		m.compose()
		moved := m.yield()
		if m.leader == m.s.HostID {
			moved = m.propose() || moved
		} else {
			m.lead = leadership{}
			moved = m.follow() || moved
		}
		moved = m.acknowledge() || moved
		moved = m.commit() || moved
		if !moved {
			break
		}
		m.compose()
	}
	m.mask()
	m.holdGranted = m.holdReady()
	m.finishLeaving()
	m.compose()
}
