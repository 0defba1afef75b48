// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// action is something that was done to a simulation, in the words of a scenario.
type action struct {
	at   time.Duration
	text string
}

// note records an action. All that follows from a history but for the clusterLine is in these.
func (s *simulation) note(format string, args ...any) {
	a := action{at: s.now, text: fmt.Sprintf(format, args...)}
	s.actions = append(s.actions, a)
	s.log("%s", a.text)
}

// node is the number by which scenarios call a node. It is the host ID, unless the scenario gives
// another one.
func (h *simHost) node() int { return h.index + 1 }

// running reports whether the agent can be told anything.
func (h *simHost) running() bool { return h.m != nil && !h.frozen }

// start starts the agent of a host.
func (s *simulation) start(h *simHost) {
	if h.m == nil {
		s.note("start %d", h.node())
		s.launch(h)
	}
}

func (s *simulation) launch(h *simHost) {
	h.incarnation++
	clear(h.heard)
	h.m = New(Settings{
		HostID: h.id, HostKey: h.key, HostCode: uint32(s.net.Uint64()), Incarnation: h.incarnation,
		ClusterIP: h.clusterIP, ClusterKey: h.clusterKey, HostIP: [4]byte{192, 0, 2, byte(10 + h.index)},
		Period: s.period, Tolerance: s.tolerance,
	}, h.local(s.now))
	s.attach(h)
}

// attach gives a host its machine, a new one or a restored one.
func (s *simulation) attach(h *simHost) {
	h.m.broken = s.broken
	h.frozen, h.inbox, h.saved = false, nil, nil
	s.step(h, h.circumstances()...)
}

// circumstances are what an agent tells its machine when it starts, or wakes up.
func (h *simHost) circumstances() []Event {
	return []Event{Carrier{Up: !h.noCarrier}, Offer{Policy: h.policy}, AdminStateChanged{State: h.admin}}
}

// stop ends the agent of a host; the filter stays unless the node goes down.
func (s *simulation) stop(h *simHost, node bool) {
	if node {
		s.note("crash %d", h.node())
	} else {
		s.note("kill %d", h.node())
	}
	s.halt(h, node)
}

func (s *simulation) halt(h *simHost, node bool) {
	if h.running() {
		h.silentAt = s.now
	}
	h.m, h.frozen, h.inbox = nil, false, nil
	if h.hasFilter = h.hasFilter && !node; node {
		h.conns = bucket.Table{}
	}
}

// restart replaces the agent of a host, which announces a hold before.
func (s *simulation) restart(h *simHost, hold, down time.Duration) {
	if !h.running() {
		return
	}
	s.hold(h, hold)
	m := h.m
	s.at(s.now+s.period, func() {
		if h.m != m || h.frozen {
			return
		}
		s.save(h)
		incarnation := h.incarnation
		s.at(s.now+down, func() {
			if h.m == nil && h.incarnation == incarnation {
				s.restore(h)
			}
		})
	})
}

// hold has an agent announce that it will be silent.
func (s *simulation) hold(h *simHost, d time.Duration) {
	if h.running() {
		s.note("hold %d for=%v", h.node(), d)
		s.step(h, Hold{Duration: d})
	}
}

// save ends an agent, with a snapshot for the next one.
func (s *simulation) save(h *simHost) {
	if !h.running() {
		return
	}
	s.note("save %d", h.node())
	data, err := h.m.Snapshot()
	if err != nil {
		s.fail("%v", err)
	}
	h.settings, h.saved = h.m.s, data
	s.halt(h, false)
}

// restore starts an agent from the snapshot, or a new one if that is too old. The snapshot is gone
// with the start of any.
func (s *simulation) restore(h *simHost) {
	if h.m != nil || h.saved == nil {
		return
	}
	s.note("restore %d", h.node())
	m, err := Restore(h.settings, h.saved, h.local(s.now))
	if err != nil {
		s.log("not restored: %v", err)
		s.launch(h)
		return
	}
	h.m = m
	s.attach(h)
}

// sweeps has a host look for its connections every second.
func (s *simulation) sweeps(h *simHost, at time.Duration) {
	s.at(at, func() {
		s.sweep(h)
		s.sweeps(h, s.now+time.Second)
	})
}

// sweep looks for a host's connections: some that it had are over, and those of this moment may be
// anywhere it accepts.
func (s *simulation) sweep(h *simHost) {
	if !h.running() {
		return
	}
	var idle bucket.Table
	for i := range h.conns {
		h.conns[i] &= bucket.Map(s.net.Uint64())
		idle[i] = bucket.All.Minus(h.conns[i])
		h.conns[i] |= h.filter.Accept[i]
	}
	s.step(h, Idle{Table: idle})
}

// freeze stops an agent, not its filter, for a while.
func (s *simulation) freeze(h *simHost, d time.Duration) {
	if !h.running() {
		return
	}
	s.note("freeze %d for=%v", h.node(), d)
	h.frozen, h.silentAt = true, s.now
	m := h.m
	s.at(s.now+d, func() {
		if h.m != m {
			return
		}
		s.log("thaw %d", h.node())
		h.frozen = false
		inbox := h.inbox
		h.inbox = nil
		if s.net.IntN(2) == 0 {
			s.step(h, Tick{})
		}
		for _, msg := range inbox {
			s.deliver(h, msg)
		}
		s.step(h, h.circumstances()...) // what changed meanwhile
	})
}

// leave has a host hand over for good.
func (s *simulation) leave(h *simHost) {
	s.note("leave %d", h.node())
	s.step(h, Leave{})
}

// setAdmin changes a host's administrative state.
func (s *simulation) setAdmin(h *simHost, a AdminState) {
	s.note("admin %d %s", h.node(), adminNames[a])
	h.admin = a
	s.step(h, AdminStateChanged{State: a})
}

var adminNames = map[AdminState]string{
	Stopped: "Stopped", Started: "Started", Drained: "Drained", Suspended: "Suspended",
}

// setCarrier gives a host's interface a carrier, or takes it away, as far as its agent notices.
func (s *simulation) setCarrier(h *simHost, up bool) {
	word := "down"
	if up {
		word = "up"
	}
	s.note("carrier %d %s", h.node(), word)
	h.noCarrier = !up
	s.step(h, Carrier{Up: up})
}

// setTransmit says whether a host can send heartbeats. If it cannot, its agent is told at each.
func (s *simulation) setTransmit(h *simHost, works bool) {
	word := "fails"
	if works {
		word = "works"
	}
	s.note("transmit %d %s", h.node(), word)
	h.deadTX = !works
}

// setTiming gives a host other timing: what it took for lost already stays lost.
func (s *simulation) setTiming(h *simHost, t Timing) {
	if !h.running() {
		return
	}
	s.note("timing %d period=%v tolerance=%d", h.node(), t.Period, t.Tolerance)
	for i := range h.heard {
		r := &h.heard[i]
		r.ok = r.ok && s.now-r.at < r.window-r.window/50
		r.window = max(r.timeout, t.Period*time.Duration(t.Tolerance))
	}
	s.step(h, t)
}

// offer gives a host a policy, at once or when it starts.
func (s *simulation) offer(h *simHost, p Policy) {
	a, b := &p.Slots[0], &p.Slots[2]
	s.note("offer %d version=%d weight=%d state=%s weight2=%d state2=%s priority=%d", h.node(), p.Generation,
		a.Weight, ruleNames[a.State], b.Weight, ruleNames[b.State], p.Slots[1].Priority)
	h.policy = p
	s.step(h, Offer{Policy: p})
}

var ruleNames = map[heartbeat.RuleState]string{
	heartbeat.Enabled: "enabled", heartbeat.Drained: "drained", heartbeat.Disabled: "disabled",
}

// setVersion gives a host another policy and keeps its own part.
func (s *simulation) setVersion(h *simHost, version int) {
	p := testPolicy(version)
	for i := range p.Slots {
		own := &h.policy.Slots[i]
		p.Slots[i].Weight, p.Slots[i].Priority, p.Slots[i].State = own.Weight, own.Priority, own.State
	}
	if version%2 == 0 && h.policy.Slots[2].Weight == 0 {
		p.Slots[2].Weight = 50
	}
	s.offer(h, p)
}

// setLoss changes the share of heartbeats that get lost, 0..1.
func (s *simulation) setLoss(loss float64) {
	s.note("network loss=%v", loss)
	s.loss = loss
}

// calm has the network lose and repeat nothing, and delay little.
func (s *simulation) calm() {
	s.loss, s.dup, s.maxDelay = 0, 0, min(s.maxDelay, 2*time.Millisecond)
	s.note("network loss=0 dup=0 delay=%v", s.maxDelay)
}

// cutFor cuts a link in one direction. It is up again once all who cut it are over.
func (s *simulation) cutFor(from, to *simHost, d time.Duration) {
	s.note("cut %d->%d for=%v", from.node(), to.node(), d)
	s.cut[from.index][to.index]++
	s.at(s.now+d, func() { s.cut[from.index][to.index]-- })
}
