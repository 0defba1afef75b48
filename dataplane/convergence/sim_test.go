// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// simulation runs a cluster of machines on a network that loses, repeats, delays and overtakes, with hosts that crash,
// freeze, restart and have clocks of their own. Everything follows from the seed.
type simulation struct {
	seed   uint64
	rng    *rand.Rand
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
	unplugged  int  // counts what keeps the carrier away, as the agent knows it
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
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5EED)), period: 200 * time.Millisecond, tolerance: 5,
		minDelay: 50 * time.Microsecond, maxDelay: time.Millisecond, outcome: digestSeed,
	}
	s.cut = make([][]int, hosts)
	for i := range hosts {
		s.cut[i] = make([]int, hosts)
		s.hosts = append(s.hosts, &simHost{
			index: i, id: uint8(i + 1), key: uint32(1000 + i), rate: 1, policy: testPolicy(1), admin: Started, heard: make([]hearing, hosts),
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

// packetClasses are the kinds of packets that rules of testPolicy tell apart, by the digest of their slot.
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

// start starts the agent of a host.
func (s *simulation) start(h *simHost) {
	if h.m != nil {
		return
	}
	h.incarnation++
	h.m = New(Settings{
		HostID: h.id, HostKey: h.key, HostCode: uint32(s.rng.Uint64()), Incarnation: h.incarnation,
		ClusterIP: h.clusterIP, ClusterKey: h.clusterKey, HostIP: [4]byte{192, 0, 2, byte(10 + h.index)}, Period: s.period, Tolerance: s.tolerance,
	}, h.local(s.now))
	h.m.broken = s.broken
	h.frozen, h.inbox = false, nil
	clear(h.heard)
	s.log("start %d (%d)", h.id, h.key)
	s.step(h, h.circumstances()...)
}

// circumstances are what an agent tells its machine when it starts, or wakes up.
func (h *simHost) circumstances() []Event {
	return []Event{Carrier{Up: h.unplugged == 0}, Offer{Policy: h.policy}, AdminStateChanged{State: h.admin}}
}

// unplug takes a host's carrier away. Its agent notices a little later.
func (s *simulation) unplug(h *simHost, d time.Duration) {
	s.log("unplug %d (%d) for %v", h.id, h.key, d)
	for _, o := range s.hosts {
		s.cutFor(h, o, d)
		s.cutFor(o, h, d)
	}
	down := s.upTo(s.period)
	s.at(s.now+down, func() { h.unplugged++; s.step(h, Carrier{}) })
	s.at(s.now+max(d, down)+s.upTo(s.period), func() { h.unplugged--; s.step(h, Carrier{Up: h.unplugged == 0}) })
}

// setTiming gives a host other timing: what it took for lost already stays lost.
func (s *simulation) setTiming(h *simHost, t Timing) {
	if h.m == nil || h.frozen {
		return
	}
	for i := range h.heard {
		r := &h.heard[i]
		r.ok = r.ok && s.now-r.at < r.window-r.window/50
		r.window = max(r.timeout, t.Period*time.Duration(t.Tolerance))
	}
	s.step(h, t)
}

// stop ends the agent of a host; the filter stays unless the node goes down.
func (s *simulation) stop(h *simHost, node bool) {
	s.log("crash %d (%d) node=%v", h.id, h.key, node)
	if h.m != nil && !h.frozen {
		h.silentAt = s.now
	}
	h.m, h.frozen, h.inbox = nil, false, nil
	if h.hasFilter = h.hasFilter && !node; node {
		h.conns = bucket.Table{}
	}
}

// restart replaces the agent of a host, that asks its peers for patience before.
func (s *simulation) restart(h *simHost, hold, after time.Duration) {
	if h.m == nil || h.frozen {
		return
	}
	s.log("hold %d (%d) for %v", h.id, h.key, hold)
	s.step(h, Hold{Duration: hold})
	m := h.m
	s.at(s.now+s.period, func() {
		if h.m != m || h.frozen {
			return
		}
		incarnation := h.incarnation
		data, err := m.Snapshot()
		if err != nil {
			s.fail("%v", err)
		}
		s.stop(h, false)
		s.at(s.now+after, func() {
			if h.m != nil || h.incarnation != incarnation { // the snapshot is gone with the start of another agent
				return
			}
			next, err := Restore(m.s, data, h.local(s.now))
			if err != nil {
				s.log("not restored %d: %v", h.id, err)
				s.start(h)
				return
			}
			s.log("restore %d (%d)", h.id, h.key)
			h.m, next.broken = next, s.broken
			s.step(h, h.circumstances()...)
		})
	})
}

// sweep looks for a host's connections: some that it had are over, and those of this moment may be anywhere it accepts.
func (s *simulation) sweep(h *simHost) {
	if h.m == nil || h.frozen {
		return
	}
	var idle bucket.Table
	for i := range h.conns {
		h.conns[i] &= bucket.Map(s.rng.Uint64())
		idle[i] = bucket.All.Minus(h.conns[i])
		h.conns[i] |= h.filter.Accept[i]
	}
	s.step(h, Idle{Table: idle})
}

func (s *simulation) freeze(h *simHost, d time.Duration) {
	if h.m == nil || h.frozen {
		return
	}
	s.log("freeze %d (%d) for %v", h.id, h.key, d)
	h.frozen, h.silentAt = true, s.now
	m := h.m
	s.at(s.now+d, func() {
		if h.m != m {
			return
		}
		s.log("thaw %d (%d)", h.id, h.key)
		h.frozen = false
		inbox := h.inbox
		h.inbox = nil
		if s.rng.IntN(2) == 0 {
			s.step(h, Tick{})
		}
		for _, msg := range inbox {
			s.deliver(h, msg)
		}
		s.step(h, h.circumstances()...) // what changed meanwhile
	})
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
			s.log("host %d (%d): epoch %d accepts %v %v %v", h.id, h.key, out.Decision.Epoch, out.Decision.Accept[0], out.Decision.Accept[1], out.Decision.Accept[bucket.DefaultSlot])
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
		s.log("host %d (%d) sends #%d %s leader %d heard %s view %s committed %v round %v %s flags %010b", h.id, h.key, msg.Sequence, State(msg.State), msg.Leader,
			list(msg.Heard), list(msg.View), msg.Committed, msg.Round, list(msg.RoundView), msg.Flags)
	}
	for _, o := range s.hosts {
		if o == h || s.cut[h.index][o.index] > 0 || s.loss > 0 && s.rng.Float64() < s.loss {
			continue
		}
		copies := 1
		if s.dup > 0 && s.rng.Float64() < s.dup {
			copies = 2
		}
		for range copies {
			delay := s.minDelay + time.Duration(s.rng.Int64N(int64(s.maxDelay-s.minDelay)+1))
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
				at: s.now, incarnation: msg.Incarnation, sequence: msg.Sequence, ok: true, lists: msg.Heard.Has(h.id) || msg.HostID == h.id,
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
		s.now = max(s.now, e.at)
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
	s.now = max(s.now, until)
}

// accepts returns what a host's filter accepts of a class of packets right now.
func (s *simulation) accepts(h *simHost, class uint64) bucket.Map {
	if !h.hasFilter || h.local(s.now) >= h.filter.LeaseUntil {
		return 0
	}
	return h.filter.Accept[slotOf(&h.filterRule, class)]
}

// resets returns the buckets of which h accepts packets of any connection although o, which did not leave and whose last word h has, may
// have some: h would answer those with a reset.
func (s *simulation) resets(h, o *simHost, class uint64) bucket.Map {
	r := h.heard[o.index]
	if o.m == nil || o.left || o.twin || h.filter.Policy != o.filter.Policy || r.incarnation != o.incarnation || r.sequence != o.m.sequence {
		return 0
	}
	slot := slotOf(&h.filterRule, class)
	return (s.accepts(h, class) & o.conns[slot]).Minus(h.filter.Busy[slot])
}

// fenced reports whether o's agent is silent and its lease must have ended before h may take over from it: they heard each other,
// and h has the last heartbeat that o sent.
func (s *simulation) fenced(h, o *simHost) bool {
	if o.m != nil && !o.frozen {
		return false
	}
	r := h.heard[o.index]
	return r.ok && r.lists && r.incarnation == o.incarnation && r.sequence == o.sent && h.listensTo(o) && s.hears(o, h, o.silentAt)
}

// hears reports whether a, at a given time, had a heartbeat of b within the timeout that lists a.
func (s *simulation) hears(a, b *simHost, now time.Duration) bool {
	r := a.heard[b.index]
	if !r.ok || !r.lists || now-r.at >= r.window-r.window/50 { // the hosts' clocks may run fast
		return false
	}
	return a.listensTo(b)
}

// check tests what must hold after every step of a host.
func (s *simulation) check(h *simHost, out *Output) {
	if !out.View.Members.Has(h.id) {
		s.fail("S4: host %d does not list itself: %s", h.id, list(out.View.Members))
	}
	if out.DecisionChanged {
		s.outcome = s.outcome.add(uint64(h.id)).add(uint64(s.now)).add(uint64(out.Decision.Epoch))
		for i := range out.Decision.Accept {
			s.outcome = s.outcome.add(uint64(out.Decision.Accept[i]))
		}
	}
	if out.Send != nil {
		for i, idle := range out.Send.Idle {
			if lost := idle & h.conns[i]; lost != 0 {
				s.fail("S7: host %d (%d) calls buckets %v of slot %d idle, in which it may have connections", h.id, h.key, lost, i)
			}
		}
	}
	if h.filter.LeaseUntil == 0 {
		return
	}
	for _, o := range s.hosts {
		mutual := s.hears(h, o, s.now) && s.hears(o, h, s.now)
		if o == h || !mutual && !s.fenced(h, o) {
			continue
		}
		for _, class := range packetClasses {
			a := s.accepts(h, class)
			if a == 0 {
				continue
			}
			if lost := s.resets(h, o, class); mutual && lost != 0 {
				s.fail("S7: host %d (%d) takes buckets %v of packets of class %d for its own alone, host %d (%d) may have connections in them", h.id, h.key, lost, class, o.id, o.key)
			}
			if b := s.accepts(o, class); a&b != 0 {
				s.fail("S1: hosts %d (%d) and %d (%d) hear each other and both accept buckets %v of packets of class %d", h.id, h.key, o.id, o.key, a&b, class)
			}
		}
	}
}

// listensTo reports whether h does not ignore o: of two hosts with one ID, it listens to one.
func (h *simHost) listensTo(o *simHost) bool {
	if !o.twin || h.m == nil || h.id == o.id {
		return true
	}
	msg := h.m.peers[o.id].msg
	return msg != nil && msg.HostKey == o.key
}

func (s *simulation) fail(format string, args ...any) {
	if s.failure == nil {
		s.failure = fmt.Errorf("at %v: %s", s.now, fmt.Sprintf(format, args...))
		s.log("FAILURE %v", s.failure)
	}
}

// checkSettled tests what must hold once the network and the hosts stand still and are all connected.
func (s *simulation) checkSettled() {
	members := s.expectedMembers()
	if len(members) == 0 {
		return
	}
	var want heartbeat.Set
	for _, h := range members {
		want = want.With(h.id)
	}
	for _, h := range members {
		if h.view.State != StateConverged && h.view.State != StateDraining {
			s.fail("S2: host %d is %v", h.id, h.view.State)
		}
		if h.view.Epoch != members[0].view.Epoch || h.view.Committed != want || h.view.Members&want != want {
			s.fail("S2: host %d is at epoch %d with %s of %s and committed %s, host %d at epoch %d", h.id, h.view.Epoch, list(h.view.Members), list(want), list(h.view.Committed), members[0].id, members[0].view.Epoch)
		}
		if h.filter.Policy != h.policy.Digest {
			s.fail("S2: host %d filters by policy %x and not by %x", h.id, h.filter.Policy, h.policy.Digest)
		}
	}
	for _, slot := range []int{0, 1, 2, bucket.DefaultSlot} {
		s.checkSlot(slot, members)
	}
}

// expectedMembers returns the hosts that should be members, and checks that of hosts with one ID, or with one handling priority, all
// but one stay out.
func (s *simulation) expectedMembers() []*simHost {
	var members, clashing []*simHost
	owner, first := map[uint8]*simHost{}, map[uint8]*simHost{}
	for _, h := range s.hosts {
		if h.m == nil || h.admin != Started && h.admin != Drained {
			continue
		}
		if h.twin && h.m.dispute == disputeHostID {
			if h.filter.Accept != (bucket.Table{}) || h.view.State != StateConverging {
				s.fail("host %d (key %d) contends for its ID and is %v", h.id, h.key, h.view.State)
			}
			continue
		}
		if h.m.dispute == disputePriority {
			clashing = append(clashing, h)
			continue
		}
		if o := owner[h.id]; o != nil {
			s.fail("hosts with keys %d and %d both use ID %d", o.key, h.key, h.id)
		}
		priority := h.policy.Slots[1].Priority
		if o := first[priority]; o != nil {
			s.fail("hosts %d and %d both have handling priority %d", o.id, h.id, priority)
		}
		owner[h.id], first[priority] = h, h
		members = append(members, h)
	}
	for _, h := range clashing {
		o := first[h.policy.Slots[1].Priority]
		named := func(c Conflict) bool {
			return o != nil && c.Reason == CauseBadConfig && c.Hosts == [2]uint8{o.id, h.id}
		}
		if !slices.ContainsFunc(h.view.Conflicts, named) || h.filter.Accept != (bucket.Table{}) || h.view.State != StateConverging {
			s.fail("host %d has the handling priority of %+v, is %v and accepts %v: %v", h.id, o, h.view.State, h.filter.Accept[0], h.view.Conflicts)
		}
	}
	return members
}

// checkSlot tests that a slot is placed completely, once, and by weight.
func (s *simulation) checkSlot(slot int, members []*simHost) {
	mode := members[0].policy.Slots[slot].Mode
	if mode == placement.Unused {
		return
	}
	var sum, seen uint64
	takes := func(h *simHost) bool {
		return h.admin == Started && (h.policy.Slots[slot].Weight > 0 || slot == bucket.DefaultSlot) && h.policy.Slots[slot].State == heartbeat.Enabled
	}
	for _, h := range members {
		if takes(h) {
			sum += uint64(h.policy.Slots[slot].Weight)
			seen++
		}
	}
	var all bucket.Map
	for _, h := range members {
		own := h.filter.Accept[slot]
		if h.local(s.now) >= h.filter.LeaseUntil {
			s.fail("S2: the lease of host %d ended", h.id)
		}
		if own&all != 0 {
			s.fail("S2: buckets %v of slot %d have two owners", own&all, slot)
		}
		all |= own
		if !takes(h) && own != 0 {
			s.fail("S2: host %d takes no connections and owns %v of slot %d", h.id, own, slot)
		}
		if slot == bucket.DefaultSlot || mode != placement.Multiple || !takes(h) {
			continue
		}
		if d := int64(own.Len())*int64(sum) - bucket.Count*int64(h.policy.Slots[slot].Weight); d <= -int64(sum) || d >= int64(sum) {
			s.fail("S2: host %d has %d buckets of slot %d with weight %d of %d", h.id, own.Len(), slot, h.policy.Slots[slot].Weight, sum)
		}
	}
	if seen > 0 && all != bucket.All {
		s.fail("S2: buckets %v of slot %d have no owner", bucket.All.Minus(all), slot)
	}
}
