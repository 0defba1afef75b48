// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// TestScenarios plays the scenarios of testdata, with the checks of the random histories in every step.
// docs/convergence.md lists the commands; -rewrite writes down what the hosts say now.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var sc scenario
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			out, err := sc.do(d)
			if err != nil {
				d.Fatalf(t, "%v\n%s", err, out)
			}
			return out
		})
	})
}

// TestHistoryAsScenario: a history that is written down as a scenario plays as it did.
func TestHistoryAsScenario(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		h := history(seed, noRule)
		if err := h.play(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		h.replay(t)
	}
}

// replay plays what was done to a simulation once more, as a scenario, and expects the same outcome.
func (s *simulation) replay(t *testing.T) {
	t.Helper()
	sc := scenario{broken: s.broken}
	datadriven.RunTestFromString(t, s.scenario(), func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		if _, err := sc.do(d); err != nil && sc.s.failure == nil {
			d.Fatalf(t, "%v", err)
		}
		return d.Expected
	})
	got := sc.s
	same := got.outcome == s.outcome && got.frames == s.frames
	if !same || fmt.Sprint(got.failure) != fmt.Sprint(s.failure) {
		t.Errorf("seed %d: %v after %d heartbeats; as a scenario %v after %d:\n%s",
			s.seed, s.failure, s.frames, got.failure, got.frames, s.scenario())
	}
}

// scenario plays one file.
type scenario struct {
	s      *simulation
	broken rule // the rule that all hosts break
	out    strings.Builder
	// counted is how many heartbeats hosts had sent when the command heartbeats was last given.
	counted map[*simHost]uint64
	// since is when the current command began; unowned and shared are for how long since then some
	// bucket had no owner, or two.
	since, unowned, shared time.Duration
}

// do carries out one command and returns what there is to say.
func (sc *scenario) do(d *datadriven.TestData) (string, error) {
	sc.out.Reset()
	if d.Cmd == "cluster" {
		s, err := newCluster(d.CmdArgs)
		if err != nil {
			return "", err
		}
		s.broken = sc.broken
		if d.HasArg("converged") {
			s.startAll()
		}
		sc.adopt(s)
		return "", s.failure
	}
	if sc.s == nil {
		return "", errors.New("the first command is cluster")
	}
	sc.since, sc.unowned, sc.shared = sc.s.now, 0, 0
	args, err := sc.parse(d.CmdArgs)
	if err == nil {
		err = sc.command(d.Cmd, args)
	}
	sc.ownership()
	return sc.out.String(), cmp.Or(err, sc.s.failure)
}

// adopt takes over a new cluster.
func (sc *scenario) adopt(s *simulation) {
	sc.s, sc.counted = s, map[*simHost]uint64{}
	s.elapsed = sc.measure
	s.observe = func(h *simHost, out *Output) {
		for _, tr := range out.Transitions {
			fmt.Fprintf(&sc.out, "+%v %s: %s: %s\n",
				(s.now - sc.since).Round(time.Microsecond), s.name(h), tr.Kind, tr.Message)
		}
	}
}

// name tells hosts with one ID apart.
func (s *simulation) name(h *simHost) string {
	if int(h.id) == h.node() {
		return fmt.Sprintf("host %d", h.id)
	}
	return fmt.Sprintf("node %d (host %d)", h.node(), h.id)
}

// command carries out a command other than cluster.
func (sc *scenario) command(cmd string, a *scenarioArgs) error {
	s := sc.s
	switch cmd {
	case "run":
		d, err := time.ParseDuration(a.word(0))
		s.run(s.now + d)
		return err
	case "until":
		return sc.until(a)
	case "show":
		sc.show(a.hosts)
	case "buckets":
		sc.buckets(a.hosts)
	case "heartbeats":
		sc.heartbeats(a.hosts)
	case "settled":
		s.checkSettled()
	case "cut":
		return sc.cut(a)
	case "heal":
		for i := range s.cut {
			clear(s.cut[i])
		}
	case "network":
		return s.setNetwork(a.values)
	default:
		for _, h := range a.hosts {
			if err := sc.act(cmd, h, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// act does to one host what a command says.
func (sc *scenario) act(cmd string, h *simHost, a *scenarioArgs) error {
	s := sc.s
	d, err := a.duration("for")
	if err != nil {
		return err
	}
	switch cmd {
	case "start":
		s.start(h)
	case "stop":
		s.setAdmin(h, Stopped)
	case "drain":
		s.setAdmin(h, Drained)
	case "suspend":
		s.setAdmin(h, Suspended)
	case "admin":
		for state, name := range adminNames {
			if name == a.word(0) {
				s.setAdmin(h, state)
				return nil
			}
		}
		return fmt.Errorf("no administrative state %q", a.word(0))
	case "leave":
		s.leave(h)
	case "crash":
		s.stop(h, true)
	case "kill":
		s.stop(h, false)
	case "freeze":
		s.freeze(h, d)
	case "hold":
		s.hold(h, d)
	case "save":
		s.save(h)
	case "restore":
		s.restore(h)
	case "restart":
		hold, err := a.duration("hold")
		down, err2 := a.duration("down")
		s.restart(h, hold, down)
		return cmp.Or(err, err2)
	case "carrier":
		s.setCarrier(h, a.word(0) == "up")
	case "transmit":
		s.setTransmit(h, a.word(0) == "works")
	case "timing":
		t := Timing{Tolerance: s.tolerance}
		if t.Period, err = a.duration("period"); err != nil {
			return err
		}
		err = a.number("tolerance", func(n int) { t.Tolerance = n })
		s.setTiming(h, t)
		return err
	case "offer":
		return sc.offer(h, a)
	case "traffic":
		t := Traffic{Evict: a.word(0) == "evict"}
		err := a.number("stall", func(n int) { t.StallReason = uint8(n) })
		s.step(h, t)
		return err
	case "connections":
		return sc.connections(h, a)
	default:
		return fmt.Errorf("no command %q", cmd)
	}
	return nil
}

// cut cuts links, for good or for a while.
func (sc *scenario) cut(a *scenarioArgs) error {
	d, err := a.duration("for")
	for _, l := range a.links {
		if d > 0 {
			sc.s.cutFor(l[0], l[1], d)
		} else {
			sc.s.cut[l[0].index][l[1].index] = 1
		}
	}
	return err
}

// offer changes what is given of a host's policy.
func (sc *scenario) offer(h *simHost, a *scenarioArgs) error {
	p := h.policy
	err := a.number("version", func(n int) {
		p = testPolicy(n)
		for i := range p.Slots {
			own := &h.policy.Slots[i]
			p.Slots[i].Priority, p.Slots[i].State = own.Priority, own.State
			if own.Mode != 0 {
				p.Slots[i].Weight = own.Weight
			}
		}
	})
	for slot, suffix := range map[int]string{0: "", 2: "2"} {
		own := &p.Slots[slot]
		err = cmp.Or(err, a.number("weight"+suffix, func(n int) { own.Weight = uint32(n) }))
		for state, name := range ruleNames {
			if a.values["state"+suffix] == name {
				own.State = state
			}
		}
	}
	err = cmp.Or(err, a.number("priority", func(n int) { p.Slots[1].Priority = uint8(n) }))
	sc.s.offer(h, p)
	return err
}

// connections has a host find connections in one bucket only, beside those of this moment.
func (sc *scenario) connections(h *simHost, a *scenarioArgs) error {
	var idle bucket.Table
	err := a.number("bucket", func(n int) {
		for i := range idle {
			idle[i] = bucket.All.Minus(bucket.Map(0).With(n))
			h.conns[i] = h.filter.Accept[i].With(n)
		}
	})
	sc.s.step(h, Idle{Table: idle})
	return err
}

// until runs until all given hosts have converged by another round than they had when the command
// began.
func (sc *scenario) until(a *scenarioArgs) error {
	s := sc.s
	limit, err := a.duration("within")
	if err != nil || a.word(0) != "converged" || limit == 0 {
		return fmt.Errorf("usage: until converged [hosts] within=2s (%w)", err)
	}
	before := map[*simHost]uint32{}
	for _, h := range a.hosts {
		if h.view != nil {
			before[h] = h.view.Epoch
		}
	}
	done := func(h *simHost) bool {
		return h.view != nil && h.view.Epoch != before[h] && h.view.State == StateConverged
	}
	for slices.ContainsFunc(a.hosts, func(h *simHost) bool { return !done(h) }) {
		if s.now > sc.since+limit {
			return fmt.Errorf("not converged within %v:\n%s", limit, sc.out.String())
		}
		s.run(s.now + 20*time.Microsecond)
	}
	return nil
}

// setNetwork changes how the network treats heartbeats.
func (s *simulation) setNetwork(values map[string]string) error {
	for name, v := range values {
		var err error
		switch name {
		case "loss":
			s.loss, err = strconv.ParseFloat(v, 64)
		case "dup":
			s.dup, err = strconv.ParseFloat(v, 64)
		case "delay":
			s.maxDelay, err = time.ParseDuration(v)
		default:
			err = fmt.Errorf("no setting %q", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
