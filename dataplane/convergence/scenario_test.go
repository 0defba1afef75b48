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
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
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
	sc.s, s.broken, sc.counted = s, sc.broken, map[*simHost]uint64{}
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

// scenarioArgs are the arguments of a command.
type scenarioArgs struct {
	hosts  []*simHost // all if none was named
	words  []string   // what is no host, and has no value
	links  [][2]*simHost
	values map[string]string
}

// parse sorts out the arguments: hosts, links (1->2, 1,2<->3), words and values (for=2s).
func (sc *scenario) parse(cmdArgs []datadriven.CmdArg) (*scenarioArgs, error) {
	a := &scenarioArgs{values: map[string]string{}}
	for _, arg := range cmdArgs {
		switch {
		case len(arg.Vals) > 0:
			a.values[arg.Key] = strings.Join(arg.Vals, ",")
		case strings.Contains(arg.Key, "->"):
			if err := sc.link(a, arg.Key); err != nil {
				return nil, err
			}
		case arg.Key[0] >= '0' && arg.Key[0] <= '9' && !strings.HasSuffix(arg.Key, "s"):
			hosts, err := sc.hosts(arg.Key)
			if err != nil {
				return nil, err
			}
			a.hosts = append(a.hosts, hosts...)
		default:
			a.words = append(a.words, arg.Key)
		}
	}
	if len(a.hosts) == 0 {
		a.hosts = sc.s.hosts
	}
	return a, nil
}

// hosts returns the hosts in a list of node numbers; * is all.
func (sc *scenario) hosts(list string) ([]*simHost, error) {
	if list == "*" {
		return sc.s.hosts, nil
	}
	var out []*simHost
	for n := range strings.SplitSeq(list, ",") {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > len(sc.s.hosts) {
			return nil, fmt.Errorf("no host %q", n)
		}
		out = append(out, sc.s.hosts[i-1])
	}
	return out, nil
}

// link adds the links between two lists of hosts, in one direction or both.
func (sc *scenario) link(a *scenarioArgs, text string) error {
	left, right, _ := strings.Cut(text, "->")
	left, both := strings.CutSuffix(left, "<")
	from, err := sc.hosts(left)
	if err != nil {
		return err
	}
	to, err := sc.hosts(right)
	if err != nil {
		return err
	}
	for _, f := range from {
		for _, o := range to {
			if f == o {
				continue
			}
			a.links = append(a.links, [2]*simHost{f, o})
			if both {
				a.links = append(a.links, [2]*simHost{o, f})
			}
		}
	}
	return nil
}

func (a *scenarioArgs) word(i int) string {
	if i >= len(a.words) {
		return ""
	}
	return a.words[i]
}

// duration returns the value of a name, 0 if there is none.
func (a *scenarioArgs) duration(name string) (time.Duration, error) {
	v, ok := a.values[name]
	if !ok {
		return 0, nil
	}
	return time.ParseDuration(v)
}

// number sets out to the value of a name, if there is one.
func (a *scenarioArgs) number(name string, set func(int)) error {
	v, ok := a.values[name]
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	set(n)
	return nil
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

// measure adds up for how long buckets have no owner, or two, in a stretch of time in which only
// leases end.
func (sc *scenario) measure(from, to time.Duration) {
	s := sc.s
	times := []time.Duration{from, to}
	for _, h := range s.hosts {
		if end := h.global(h.filter.LeaseUntil) - 1; h.hasFilter && h.filter.LeaseUntil != 0 && end > from && end < to {
			times = append(times, end)
		}
	}
	slices.Sort(times)
	for i := range times[1:] {
		s.now = times[i]
		unowned, shared := s.ownership()
		if unowned {
			sc.unowned += times[i+1] - times[i]
		}
		if shared {
			sc.shared += times[i+1] - times[i]
		}
	}
	s.now = from
}

// ownership reports whether some bucket of some kind of packets is accepted by no host now, or by two.
func (s *simulation) ownership() (unowned, shared bool) {
	for _, class := range packetClasses {
		var all bucket.Map
		for _, h := range s.hosts {
			own := s.accepts(h, class)
			shared = shared || own&all != 0
			all |= own
		}
		unowned = unowned || all != bucket.All
	}
	return unowned, shared
}

func (sc *scenario) ownership() {
	if sc.unowned > 0 {
		fmt.Fprintf(&sc.out, "buckets without an owner for %v\n", sc.unowned.Round(time.Microsecond))
	}
	if sc.shared > 0 {
		fmt.Fprintf(&sc.out, "buckets with two owners for %v\n",
			max(sc.shared.Round(time.Microsecond), time.Microsecond))
	}
}

// show prints what hosts say of themselves, and what their filters do.
func (sc *scenario) show(hosts []*simHost) {
	for _, h := range hosts {
		sc.showHost(h)
	}
}

func (sc *scenario) showHost(h *simHost) {
	s, v := sc.s, h.view
	if v == nil {
		fmt.Fprintf(&sc.out, "%s: not started yet\n", s.name(h))
		return
	}
	agent := ""
	switch {
	case h.m == nil:
		agent = " (agent down)"
	case h.frozen:
		agent = " (agent frozen)"
	}
	fmt.Fprintf(&sc.out, "%s: %s%s, members %s", s.name(h), v.State, agent, list(v.Members))
	if v.Committed != 0 {
		fmt.Fprintf(&sc.out, ", epoch %d of leader %d with %s", v.Epoch, v.Leader, list(v.Committed))
	}
	if v.Default != 0 {
		fmt.Fprintf(&sc.out, ", default host %d", v.Default)
	}
	fmt.Fprintf(&sc.out, ", %s", cmp.Or(v.Cause.String(), "no cause"))
	if v.PolicyInForce != 1 || v.PolicyOffered != 1 {
		fmt.Fprintf(&sc.out, ", policy %d of %d", v.PolicyInForce, v.PolicyOffered)
	}
	sc.out.WriteByte('\n')
	var accepts []string
	for _, class := range []uint64{1, 100, 101, 200, 999} {
		slot := slotOf(&h.filterRule, class)
		if n := s.accepts(h, class).Len(); n > 0 && (slot != bucket.DefaultSlot || class == 999) {
			accepts = append(accepts, fmt.Sprintf("%d %s", n, slotNames[slot]))
		}
	}
	if len(accepts) == 0 {
		accepts = []string{"nothing"}
	}
	fmt.Fprintf(&sc.out, "  accepts %s\n", strings.Join(accepts, ", "))
	for id, reason := range v.Stalled {
		if reason != 0 {
			fmt.Fprintf(&sc.out, "  host %d is stalled, reason %d\n", id, reason)
		}
	}
	for _, c := range v.Conflicts {
		fmt.Fprintf(&sc.out, "  %s of hosts %d (key %d) and %d (key %d): %s\n",
			c.Reason, c.Hosts[0], c.Keys[0], c.Hosts[1], c.Keys[1], c.Message)
	}
}

// slotNames are what scenarios call the slots of testPolicy.
var slotNames = map[int]string{0: "multiple", 1: "single", 2: "second", bucket.DefaultSlot: "default"}

// buckets prints which buckets of the first rule hosts accept, and in which of these peers may have
// connections.
func (sc *scenario) buckets(hosts []*simHost) {
	for _, h := range hosts {
		own := sc.s.accepts(h, 1)
		fmt.Fprintf(&sc.out, "%s: %s, busy %s\n", sc.s.name(h), ranges(own), ranges(own&h.filter.Busy[0]))
	}
}

// heartbeats prints how many heartbeats hosts sent since the command before, or since they were
// started.
func (sc *scenario) heartbeats(hosts []*simHost) {
	for _, h := range hosts {
		fmt.Fprintf(&sc.out, "%s: %d\n", sc.s.name(h), h.sent-sc.counted[h])
		sc.counted[h] = h.sent
	}
}

// ranges renders buckets as 0-4,7.
func ranges(m bucket.Map) string {
	var out []string
	for b := 0; b < bucket.Count; b++ {
		if !m.Has(b) {
			continue
		}
		first := b
		for b+1 < bucket.Count && m.Has(b+1) {
			b++
		}
		if first == b {
			out = append(out, strconv.Itoa(b))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", first, b))
		}
	}
	return cmp.Or(strings.Join(out, ","), "none")
}

// newCluster makes the cluster of a scenario.
func newCluster(args []datadriven.CmdArg) (*simulation, error) {
	hosts, seed := 0, uint64(1)
	value := map[string]string{}
	for _, a := range args {
		value[a.Key] = strings.Join(a.Vals, ",")
	}
	var err error
	if hosts, err = strconv.Atoi(value["hosts"]); err != nil || hosts < 1 || hosts > heartbeat.MaxHosts {
		return nil, fmt.Errorf("cluster hosts=1..32: %q", value["hosts"])
	}
	if v := value["seed"]; v != "" {
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			return nil, err
		}
	}
	s := newSimulation(seed, hosts)
	for name, v := range value {
		switch name {
		case "hosts", "seed", "converged":
		case "tolerance":
			s.tolerance, err = strconv.Atoi(v)
		case "period":
			s.period, err = time.ParseDuration(v)
		case "loss", "dup", "delay":
			err = s.setNetwork(map[string]string{name: v})
		case "ids", "keys", "clocks", "sweeps":
			for i, v := range strings.Split(v, ",") {
				if i >= hosts {
					return nil, fmt.Errorf("%s: more than %d", name, hosts)
				}
				if err == nil {
					err = s.hosts[i].set(name, v)
				}
			}
		default:
			err = fmt.Errorf("no setting %q of a cluster", name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	s.markTwins()
	if value["sweeps"] != "" {
		for _, h := range s.hosts {
			s.sweeps(h, h.sweepAt)
		}
	}
	s.setup = s.clusterLine()
	return s, nil
}

// startAll starts all hosts and runs until they have converged.
func (s *simulation) startAll() {
	for _, h := range s.hosts {
		s.start(h)
	}
	s.run(s.now + 4*s.period*time.Duration(s.tolerance))
	s.checkSettled()
}

// set changes one setting of a host: its ID, the key of its cluster, the rate of its clock, or when
// it first looks for connections.
func (h *simHost) set(name, v string) error {
	var err error
	var n int
	switch name {
	case "ids":
		n, err = strconv.Atoi(v)
		h.id = uint8(n)
	case "keys":
		n, err = strconv.Atoi(v)
		h.clusterIP, h.clusterKey = [4]byte{}, uint32(n)
	case "clocks":
		h.rate, err = strconv.ParseFloat(v, 64)
	case "sweeps":
		h.sweepAt, err = time.ParseDuration(v)
	}
	return err
}

// markTwins finds hosts of one cluster with one ID.
func (s *simulation) markTwins() {
	for _, a := range s.hosts {
		for _, b := range s.hosts {
			a.twin = a.twin || a != b && a.id == b.id && a.clusterKey == b.clusterKey
		}
	}
}

// clusterLine is the command that makes this cluster.
func (s *simulation) clusterLine() string {
	var ids, clocks, sweeps []string
	for _, h := range s.hosts {
		ids = append(ids, strconv.Itoa(int(h.id)))
		clocks = append(clocks, strconv.FormatFloat(h.rate, 'g', -1, 64))
		sweeps = append(sweeps, h.sweepAt.String())
	}
	return fmt.Sprintf("cluster hosts=%d seed=%d tolerance=%d loss=%v dup=%v delay=%v ids=(%s) clocks=(%s) sweeps=(%s)",
		len(s.hosts), s.seed, s.tolerance, s.loss, s.dup, s.maxDelay,
		strings.Join(ids, ","), strings.Join(clocks, ","), strings.Join(sweeps, ","))
}

// scenario writes down what was done to a simulation until now, for a file in testdata.
func (s *simulation) scenario() string {
	var b strings.Builder
	command := func(text string) { fmt.Fprintf(&b, "%s\n----\n\n", text) }
	command(s.setup)
	now := time.Duration(0)
	for _, a := range s.actions {
		if a.at > now {
			command(fmt.Sprintf("run %v", a.at-now))
		}
		now = a.at
		command(a.text)
	}
	if s.now > now {
		command(fmt.Sprintf("run %v", s.now-now))
	}
	command("settled")
	return b.String()
}
