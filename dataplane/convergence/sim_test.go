// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// simulation runs a cluster of machines on a network that loses, repeats, delays and overtakes,
// with hosts that crash, freeze, restart and have clocks of their own. Everything follows from the
// seed.
type simulation struct {
	seed   uint64
	rng    *rand.Rand // decides what a history does
	net    *rand.Rand // decides what becomes of heartbeats and connections
	now    time.Duration
	queue  eventQueue
	serial uint64
	hosts  []*simHost
	broken rule // the rule that all hosts break
	trace  io.Writer
	// observe, if set, gets the output of every step.
	observe func(*simHost, *Output)

	period    time.Duration
	tolerance int
	loss, dup float64
	minDelay  time.Duration
	maxDelay  time.Duration
	cut       [][]int // cut[from][to] counts what cuts the link
	steps     int
	frames    int
	failure   error
	outcome   digest
	setup     string   // the cluster, in the words of a scenario
	actions   []action // what was done to it since
	// elapsed, if set, is called for each stretch of time in which nothing happens.
	elapsed func(from, to time.Duration)
}

// simHost is a node with its agent and its filter.
type simHost struct {
	index       int
	id          uint8
	key         uint32
	incarnation uint64
	m           *Machine // nil while the agent is down
	frozen      bool
	inbox       []*heartbeat.Message
	offset      time.Duration
	rate        float64
	wakeSerial  uint64
	policy      Policy
	admin       AdminState
	left        bool

	// What the filter in the kernel does; it outlives the agent.
	filter     Decision
	filterRule Policy
	hasFilter  bool
	conns      bucket.Table // buckets in which there may be connections
	view       *View
	heard      []hearing // by index of the sender
	sent       uint64    // sequence of the last heartbeat
	silentAt   time.Duration
	deadTX     bool // heartbeats cannot be sent, and the agent is told
	noCarrier  bool
	unplugs    int           // what keeps the carrier away
	sweepAt    time.Duration // when it first looks for its connections
	saved      []byte        // snapshot for the next agent
	settings   Settings
	twin       bool // another host has the same ID
	clusterIP  [4]byte
	clusterKey uint32
}

// hearing is the last heartbeat of one host that another one's agent took; repeated and
// overtaken ones do not count.
type hearing struct {
	at                    time.Duration
	incarnation, sequence uint64
	window                time.Duration // how long the receiver takes the sender for alive
	timeout               time.Duration // that the sender announced
	ok                    bool
	lists                 bool
}

type simEvent struct {
	at     time.Duration
	serial uint64
	host   int
	wake   bool
	msg    *heartbeat.Message
	do     func()
}

// eventQueue is a binary heap in order of time, then of creation.
type eventQueue []simEvent

func (q eventQueue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].serial < q[j].serial
}

func (q *eventQueue) push(e simEvent) {
	*q = append(*q, e)
	for i := len(*q) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.before(i, parent) {
			return
		}
		(*q)[i], (*q)[parent] = (*q)[parent], (*q)[i]
		i = parent
	}
}

func (q *eventQueue) pop() simEvent {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = simEvent{}
	h = h[:last]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return top
		}
		if child+1 < last && h.before(child+1, child) {
			child++
		}
		if !h.before(child, i) {
			return top
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

func newSimulation(seed uint64, hosts int) *simulation {
	s := &simulation{
		seed: seed, net: rand.New(rand.NewPCG(seed, 0x4E7)), period: 200 * time.Millisecond, tolerance: 5,
		minDelay: 50 * time.Microsecond, maxDelay: time.Millisecond, outcome: digestSeed,
	}
	s.cut = make([][]int, hosts)
	for i := range hosts {
		s.cut[i] = make([]int, hosts)
		s.hosts = append(s.hosts, &simHost{
			index: i, id: uint8(i + 1), key: uint32(1000 + i), rate: 1, policy: testPolicy(1), admin: Started,
			heard:     make([]hearing, hosts),
			clusterIP: [4]byte{192, 0, 2, 1}, clusterKey: 7,
		})
		s.hosts[i].policy.Slots[1].Priority = uint8(i)
	}
	return s
}

// testPolicy returns a policy with a few slots, another one for each version.
func testPolicy(version int) Policy {
	p := Policy{Generation: int64(version), Digest: uint64(0xABC000 + version), RuleCount: 2}
	p.Slots[0] = SlotPolicy{Mode: placement.Multiple, Digest: 1, Weight: 50, Priority: 1}
	p.Slots[1] = SlotPolicy{Mode: placement.Single, Digest: uint64(100 + version/2), Weight: 50, Priority: 1}
	p.Slots[bucket.DefaultSlot] = SlotPolicy{Mode: placement.Multiple, Digest: 3, Weight: 50}
	if version%2 == 0 {
		p.Slots[2] = SlotPolicy{Mode: placement.Multiple, Digest: 200, Weight: 50}
		p.RuleCount = 3
	}
	return p
}

// packetClasses are the kinds of packets that rules of testPolicy tell apart, by the digest of
// their slot.
var packetClasses = []uint64{1, 100, 101, 102, 103, 200, 999}

// slotOf returns the slot to which packets of a class belong.
func slotOf(p *Policy, class uint64) int {
	for i := range 4 {
		if p.Slots[i].Mode != placement.Unused && p.Slots[i].Digest == class {
			return i
		}
	}
	return bucket.DefaultSlot
}

func (s *simulation) log(format string, args ...any) {
	if s.trace != nil {
		fmt.Fprintf(s.trace, "%12v ", s.now)
		fmt.Fprintf(s.trace, format+"\n", args...)
	}
}

func (s *simulation) at(t time.Duration, do func()) {
	s.serial++
	s.queue.push(simEvent{at: t, serial: s.serial, do: do})
}

// local is the time on a host's clock.
func (h *simHost) local(t time.Duration) time.Duration {
	return h.offset + time.Duration(float64(t)*h.rate)
}

// global is the time at which a host's clock shows local, rounded up.
func (h *simHost) global(local time.Duration) time.Duration {
	return time.Duration(float64(local-h.offset)/h.rate) + 1
}

// step feeds a host's machine, applies the decision and sends.
func (s *simulation) step(h *simHost, events ...Event) {
	if h.m == nil || h.frozen {
		return
	}
	s.steps++
	out := h.m.Step(h.local(s.now), events...)
	lease := h.filter.LeaseUntil
	h.filter, h.hasFilter, h.view, h.left = out.Decision, true, out.View, out.Left
	for i := range h.conns {
		h.conns[i] |= h.filter.Accept[i]
	}
	unsent := out.Send != nil && h.deadTX
	if unsent && out.Decision.LeaseUntil != 0 { // what was not sent renews nothing
		h.filter.LeaseUntil = min(h.filter.LeaseUntil, lease)
	}
	if out.Decision.Policy == h.policy.Digest {
		h.filterRule = h.policy
	} else if out.Decision.Policy != 0 && h.filterRule.Digest != out.Decision.Policy {
		h.filterRule = testPolicy(int(out.Decision.Policy - 0xABC000))
	}
	if s.trace != nil {
		for _, t := range out.Transitions {
			s.log("host %d (%d): %s: %s", h.id, h.key, t.Kind, t.Message)
		}
		if out.DecisionChanged {
			s.log("host %d (%d): epoch %d accepts %v %v %v",
				h.id, h.key, out.Decision.Epoch,
				out.Decision.Accept[0], out.Decision.Accept[1], out.Decision.Accept[bucket.DefaultSlot])
		}
	}
	s.check(h, &out)
	if s.observe != nil {
		s.observe(h, &out)
	}
	if out.Send != nil && !unsent {
		s.send(h, out.Send)
	}
	if out.Wake != never {
		s.serial++
		h.wakeSerial = s.serial
		s.queue.push(simEvent{at: max(s.now, h.global(out.Wake)), serial: s.serial, host: h.index, wake: true})
	}
	if unsent {
		s.step(h, Unsent{})
	}
}

func (s *simulation) send(h *simHost, msg *heartbeat.Message) {
	s.frames++
	h.sent = msg.Sequence
	if s.trace != nil {
		s.log("host %d (%d) sends #%d %s leader %d heard %s view %s committed %v round %v %s flags %010b",
			h.id, h.key, msg.Sequence, State(msg.State), msg.Leader,
			list(msg.Heard), list(msg.View), msg.Committed, msg.Round, list(msg.RoundView), msg.Flags)
	}
	for _, o := range s.hosts {
		if o == h || s.cut[h.index][o.index] > 0 || s.loss > 0 && s.net.Float64() < s.loss {
			continue
		}
		copies := 1
		if s.dup > 0 && s.net.Float64() < s.dup {
			copies = 2
		}
		for range copies {
			delay := s.minDelay + time.Duration(s.net.Int64N(int64(s.maxDelay-s.minDelay)+1))
			s.serial++
			s.queue.push(simEvent{at: s.now + delay, serial: s.serial, host: o.index, msg: msg})
		}
	}
}

// deliver hands a heartbeat to a host.
func (s *simulation) deliver(h *simHost, msg *heartbeat.Message) {
	switch {
	case h.m == nil:
	case msg.ClusterKey != h.clusterKey:
		s.step(h, Received{Message: msg}) // which is to ignore it
	case h.frozen:
		if len(h.inbox) < 256 {
			h.inbox = append(h.inbox, msg)
		}
	default:
		from := int(msg.HostKey) - 1000
		r := &h.heard[from]
		if msg.Incarnation > r.incarnation || msg.Incarnation == r.incarnation && msg.Sequence > r.sequence {
			*r = hearing{
				at: s.now, incarnation: msg.Incarnation, sequence: msg.Sequence, ok: true,
				lists:   msg.Heard.Has(h.id) || msg.HostID == h.id,
				timeout: time.Duration(msg.TimeoutMillis) * time.Millisecond,
			}
			r.window = max(r.timeout, h.m.timeout())
		}
		s.step(h, Received{Message: msg})
	}
}

// run runs until the given time or the first failure.
func (s *simulation) run(until time.Duration) {
	for len(s.queue) > 0 && s.failure == nil && s.queue[0].at <= until {
		e := s.queue.pop()
		s.advance(e.at)
		switch {
		case e.do != nil:
			e.do()
		case e.wake:
			if h := s.hosts[e.host]; h.wakeSerial == e.serial && !h.frozen {
				s.step(h, Tick{})
			}
		default:
			s.deliver(s.hosts[e.host], e.msg)
		}
	}
	s.advance(until)
}

func (s *simulation) advance(to time.Duration) {
	if to <= s.now {
		return
	}
	if s.elapsed != nil {
		s.elapsed(s.now, to)
	}
	s.now = to
}
