// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Machine is the state of one host. It is not safe for concurrent use.
type Machine struct {
	s         Settings
	now       time.Duration
	period    time.Duration
	tolerance int

	// What the caller wants and says.
	admin            AdminState
	closing          bool    // Leave was called: no AdminState makes this host a member again
	inForce, offered *Policy // of the last commit, and of the last Offer
	traffic          Traffic
	idle             bucket.Table // buckets without connections, of those that are not accepted
	noCarrier        bool

	// What this host knows of the others.
	peers      [heartbeat.MaxHosts + 1]peer
	duplicates [heartbeat.MaxHosts + 1]duplicate
	names      map[uint32]string // node names by host key
	live       heartbeat.Set     // peers heard within their timeout
	mutual     heartbeat.Set     // those of live that list this host as heard
	highest    uint32            // the highest number of a round, its own included

	// What this host is, see state.go.
	membership  membership
	service     service
	dispute     dispute
	startedAt   time.Duration // when it became memberIn
	listenUntil time.Duration // it does not start to serve alone before
	leavingAt   time.Duration // when it became memberLeaving

	// Its part in rounds.
	leader     uint8           // the host that it follows, 0 if there is none
	advertised *Policy         // whose Rules and Weights are in the heartbeat
	promise    heartbeat.Round // the latest round that it took part in
	lastAcked  heartbeat.Round // the latest round that it acknowledged in this incarnation
	yieldedTo  uint64          // inputs of the round that it yielded to last
	role       role            // its part in promise
	pending    round           // promise in full; valid while inRound
	committed  round
	lead       leadership

	// What the filter may do.
	accept bucket.Table // by the rounds committed and acknowledged
	masked bucket.Table // what it does not accept of that because another group may

	// The heartbeats it sends: self describes it now, sent is the last one that went out. Both are
	// immutable once sent.
	self, sent             *heartbeat.Message
	sequence               uint64
	nextSend, lastSend     time.Duration
	hasSent                bool // sent counts for the lease
	leaveNotices           int  // heartbeats still to send that say it left
	pacer                  pacer
	leaseUntil, priorLease time.Duration // by the last heartbeat, and by the one before

	// The hold of a restart: an announced silence. It extends the lease once all peers honour it.
	holdUntil, holdFor time.Duration
	holdSent           bool
	holdGranted        bool

	wake     time.Duration // when Step has to be called at the latest
	report   reporter
	decision Decision
	broken   rule // for tests only, see rules.go
}

// New returns the machine of a host that is Stopped. now is the time on the clock of all later Steps.
func New(s Settings, now time.Duration) *Machine {
	m := &Machine{
		s: s, now: now, period: s.Period, tolerance: s.Tolerance,
		wake: never, nextSend: now, names: map[uint32]string{},
	}
	m.self = &heartbeat.Message{}
	m.pacer.fill(now)
	m.report.view = &View{State: StateStopped, Members: heartbeat.SetOf(s.HostID)}
	return m
}

// Step takes events in order and returns what follows from them. now never goes back.
func (m *Machine) Step(now time.Duration, events ...Event) Output {
	m.now = max(now, m.now)
	m.fenceAfterPause()
	dirty := m.now >= m.wake
	for _, e := range events {
		if m.apply(e) {
			dirty = true
		}
	}
	if !dirty {
		return m.unchanged()
	}
	m.evaluate()
	return m.output()
}

// apply applies one event and reports whether the state has to be evaluated again.
func (m *Machine) apply(e Event) bool {
	switch e := e.(type) {
	case Received:
		return m.receive(e.Message)
	case Named:
		m.learnName(e)
	case Offer:
		m.offer(e.Policy)
	case AdminStateChanged:
		m.setAdminState(e.State)
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
		m.closing = true
		m.setAdminState(Stopped)
	case Hold:
		m.announceHold(e.Duration)
	case Unsent:
		m.unsent()
	case Carrier:
		return m.setCarrier(e.Up)
	}
	return true
}

// maxPasses bounds how often evaluate runs the phases of a round; what one pass changes may allow
// the next one more.
const maxPasses = 4

// evaluate brings the state up to date with what is known. The package comment lists its phases.
func (m *Machine) evaluate() {
	m.expire()
	if m.dispute == disputePriority && (m.stopped() || m.noCarrier) {
		m.dispute = disputeNone
	}
	if m.stopped() {
		m.evaluateStopped()
		return
	}
	if m.noCarrier {
		m.evaluateWithoutCarrier()
		return
	}
	for range maxPasses {
		m.resolveDuplicateID()
		m.detectMerge()
		m.elect()
		m.compose()
		if !m.advance() {
			break
		}
		m.compose()
	}
	m.mask()
	m.holdGranted = m.holdReady()
	m.finishLeaving()
	m.compose()
}

// advance takes the steps of a round that are possible now, and reports whether there was any.
func (m *Machine) advance() bool {
	moved := m.yield()
	if m.leader == m.s.HostID {
		moved = m.propose() || moved
	} else {
		m.lead = leadership{}
		moved = m.follow() || moved
	}
	moved = m.acknowledge() || moved
	return m.commit() || moved
}
