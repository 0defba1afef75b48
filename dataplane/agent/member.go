// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

const (
	// sampleInterval is how often counters are read: often enough for the shortest stall window of 1 s.
	sampleInterval = 250 * time.Millisecond
	// receiveQueue holds one period's heartbeats of all peers.
	receiveQueue = 64
	// announceInterval repeats the announcement of the virtual IPs: switches forget a static
	// neighbour's port, and a device that took a wrong answer is put right.
	announceInterval = 60 * time.Second
)

// member is the node while it is a host of the cluster. All its fields belong to the goroutine of run.
type member struct {
	agent *agent
	log   *slog.Logger
	node  *node

	offered *plan.Plan            // what the node is asked to be
	plans   map[uint64]*plan.Plan // by digest: all that may come into force
	inForce *plan.Plan            // by what the filter works; nil before the first commit

	machine  *convergence.Machine
	out      convergence.Output // of the last step
	received chan *heartbeat.Message
	identity chan heartbeat.Identity // of peers
	lists    chan []byte             // frames with lists of clients, see package sticky
	clients  *clients
	roster   roster
	// nextIdentity is when this host says again who it is.
	nextIdentity time.Duration
	frame        []byte

	drain    drain
	detector *stall.Detector
	sampler  sampler
	reporter reporter

	incarnation uint64
	applied     *filter.Table // what this agent put into the filter, nil before the first time
	restart     bool          // the config asks for a new node
}

// newMember sets the node up. What an earlier agent left there is taken over.
func (a *agent) newMember(ctx context.Context, p *plan.Plan) (*member, error) {
	n, err := openNode(ctx, p, a.BPFFSDir, a.Log)
	if err != nil {
		return nil, err
	}
	m := &member{
		agent: a, log: a.Log, node: n,
		offered: p, plans: map[uint64]*plan.Plan{p.Digest: p},
		received: make(chan *heartbeat.Message, receiveQueue),
		identity: make(chan heartbeat.Identity, receiveQueue), roster: roster{},
		lists:    make(chan []byte, receiveQueue),
		detector: stall.NewDetector(stall.Settings{Window: p.StallWindow, MinPackets: p.StallMinPackets}),
		sampler:  sampler{ifindex: n.iface.Index, queues: n.queues, filter: n.filter},
		reporter: reporter{status: &a.status},
	}
	if err := m.begin(); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return m, nil
}

// run takes part until the config makes that impossible or ctx ends.
func (m *member) run(ctx context.Context) error {
	receiving, stopReceiving := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		defer close(done)
		if err := m.receive(receiving); !errors.Is(err, context.Canceled) {
			done <- err
		}
	}()

	err := m.loop(ctx, done)
	if err == nil {
		err = m.end(ctx)
	}
	stopReceiving()
	for failed := range done {
		m.log.Debug("Heartbeats were not received to the end", "error", failed)
	}
	if err != nil {
		return errors.Join(err, m.node.close())
	}
	return nil
}

// receive passes heartbeats on until ctx ends or the interface is lost, and returns which. What the loop has
// no time for is dropped: peers say it all again.
func (m *member) receive(ctx context.Context) error {
	for {
		payload, _, err := m.node.heard.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("heartbeats on %s: %w", m.node.iface.Name, err)
		}
		if err := m.dispatch(payload); err != nil {
			m.log.Debug("Heartbeat ignored", "error", err)
		}
	}
}

// dispatch decodes one frame, whose payload is valid during the call only, and passes it on.
func (m *member) dispatch(payload []byte) error {
	switch heartbeat.KindOf(payload) {
	case heartbeat.KindMembership:
		message, err := heartbeat.Unmarshal(payload)
		if err != nil {
			return err
		}
		offer(m.received, &message)
	case heartbeat.KindIdentity:
		identity, err := heartbeat.UnmarshalIdentity(payload)
		if err != nil {
			return err
		}
		offer(m.identity, identity)
	case heartbeat.KindReliable:
		offer(m.lists, bytes.Clone(payload))
	default:
		return heartbeat.ErrForeign
	}
	return nil
}

// offer drops what the loop has no time for.
func offer[T any](queue chan<- T, received T) {
	select {
	case queue <- received:
	default:
	}
}

func (m *member) loop(ctx context.Context, receiver <-chan error) error {
	sample := time.NewTicker(sampleInterval)
	defer sample.Stop()
	announce := time.NewTicker(announceInterval)
	defer announce.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()

	link, err := hostnet.ReadLink(m.node.iface.Index)
	if err != nil {
		return err
	}
	m.drain.set(m.offered, filter.Now())
	if m.reporter.sample, err = m.sampler.first(); err != nil {
		return err
	}
	err = m.step(ctx, convergence.Carrier{Up: link.Running}, convergence.Offer{Policy: m.offered.Policy()}, m.drain.desired(m.offered))
	if err != nil {
		return err
	}
	for {
		wake.Reset(max(m.wake()-filter.Now(), 0))
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-receiver:
			return fmt.Errorf("interface lost: %w", err)
		case m.agent.desired = <-m.agent.updates:
			if err = m.update(ctx); m.restart || m.agent.desired.Removed() {
				return err
			}
		case message := <-m.received:
			err = m.step(ctx, convergence.Received{Message: message})
		case <-wake.C:
			err = m.step(ctx, convergence.Tick{})
		case <-sample.C:
			m.identify()
			err = m.sample(ctx)
		case <-announce.C:
			m.upkeep(ctx)
		case identity := <-m.identity:
			err = m.learn(ctx, identity)
		case list := <-m.lists:
			err = m.heed(ctx, list)
		}
		if err != nil {
			return err
		}
	}
}

// update takes a new config. One that cannot be used changes nothing but the report.
func (m *member) update(ctx context.Context) error {
	if m.agent.desired.Removed() {
		return nil
	}
	p, err := m.nextPlan()
	m.reporter.configError = err
	if err != nil {
		m.log.Error("Config refused, the last one stays in force", "error", err)
		m.agent.desired = m.offered.Config // also where the node has to be set up again
		m.report()
		return nil
	}
	if p.NeedsRestart(m.offered) {
		m.restart = true
		return nil
	}
	if p.StallWindow != m.offered.StallWindow || p.StallMinPackets != m.offered.StallMinPackets {
		m.detector = stall.NewDetector(stall.Settings{Window: p.StallWindow, MinPackets: p.StallMinPackets})
	}
	m.offered = p
	m.save()
	m.drain.set(p, filter.Now())
	m.plans[p.Digest] = p
	for digest := range m.plans {
		if digest != p.Digest && (m.inForce == nil || digest != m.inForce.Digest) {
			delete(m.plans, digest)
		}
	}
	return m.step(ctx, convergence.Offer{Policy: p.Policy()}, m.drain.desired(p))
}

// nextPlan is the plan of a new config, if that may follow the last one.
func (m *member) nextPlan() (*plan.Plan, error) {
	if err := m.agent.refuse(m.offered.Config, m.agent.desired); err != nil {
		return nil, err
	}
	return plan.New(m.agent.desired)
}

// step lets the state machine take events and does what it says. The order matters: the filter
// releases buckets before peers are told so, and its lease is renewed only by a heartbeat that left.
func (m *member) step(ctx context.Context, events ...convergence.Event) error {
	m.out = m.machine.Step(filter.Now(), events...)
	d := &m.out.Decision
	changedPolicy := m.putInForce(d.Policy)
	m.clients.told(events)
	changedClients, err := m.clients.follow(m.machine.PeerClients(), d)
	if err != nil {
		return err
	}
	if m.out.DecisionChanged || changedPolicy || changedClients || m.applied == nil {
		if err := m.apply(ctx, d); err != nil {
			return err
		}
	}
	if m.out.LeaseChanged && d.LeaseUntil == 0 {
		if err := m.node.filter.Revoke(); err != nil {
			return fmt.Errorf("lease: %w", err)
		}
	}
	sent := m.out.Send == nil || m.send(m.out.Send)
	if m.out.LeaseChanged && d.LeaseUntil != 0 && sent {
		if err := m.node.filter.RenewLease(d.LeaseUntil); err != nil {
			return fmt.Errorf("lease: %w", err)
		}
	}
	m.sendLists()
	for _, t := range m.out.Transitions {
		m.log.Info("Cluster changed", "kind", string(t.Kind), "host", t.Host, "message", t.Message)
		if t.Kind == convergence.TransitionConverged {
			m.announce()
		}
	}
	if m.out.ViewChanged || changedPolicy {
		m.report()
	}
	var then []convergence.Event
	if _, again := events[0].(convergence.Unsent); !sent && !again {
		then = append(then, convergence.Unsent{})
	}
	if changedPolicy {
		then = append(then, convergence.Timing{Period: m.inForce.Period, Tolerance: m.inForce.Tolerance})
	}
	if then == nil {
		return nil
	}
	return m.step(ctx, then...)
}

// putInForce makes the plan of a digest the one by which the filter works, and reports whether it is another one.
func (m *member) putInForce(digest uint64) bool {
	p := m.plans[digest]
	if p == nil || p == m.inForce {
		return false
	}
	m.inForce = p
	m.save()
	return true
}

// apply lets the filter work by a decision. Peers' connections come and go between epochs: they alone do not
// make a new table. Before the first commit the filter lets nothing in, by the plan that is offered.
func (m *member) apply(ctx context.Context, d *convergence.Decision) error {
	p := m.inForce
	if p == nil {
		p = m.offered
	}
	open := *d
	open.Accept = m.clients.open(p, d)
	table := p.Table(&open, m.clients.mayHold)
	if m.applied != nil && differInBusyOnly(m.applied, &table) {
		if err := m.node.filter.SetBusy(d.Busy); err != nil {
			return fmt.Errorf("filter: %w", err)
		}
		m.applied = &table
		return nil
	}
	if err := m.node.filter.Apply(table); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	m.sampler.applied(filter.Now())
	if err := m.node.setVIPs(ctx, p.VIPs); err != nil {
		return fmt.Errorf("virtual IPs: %w", err)
	}
	before := m.applied
	m.applied = &table
	return m.clients.applied(before, &table)
}

func differInBusyOnly(a, b *filter.Table) bool {
	same := a.Epoch == b.Epoch && slices.Equal(a.VIPs, b.VIPs) && slices.Equal(a.Rules, b.Rules)
	for i := range a.Slots {
		before, after := a.Slots[i], b.Slots[i]
		before.Busy = after.Busy
		same = same && before == after
	}
	return same
}

// wake is when there is something to do though nothing happens.
func (m *member) wake() time.Duration { return min(m.out.Wake, m.clients.wake()) }

// heed takes a frame with a list of clients.
func (m *member) heed(ctx context.Context, list []byte) error {
	if err := m.clients.exchange.Receive(list); err != nil {
		m.log.Debug("List of clients ignored", "error", err)
		return nil
	}
	return m.step(ctx, convergence.Tick{})
}

// sendLists sends what is due of the lists of clients. What the interface's queue has no room for, peers ask for again.
func (m *member) sendLists() {
	for _, frame := range m.clients.exchange.Send(filter.Now()) {
		if err := m.node.conn.Send(frame); err != nil {
			m.log.Debug("List of clients not sent", "error", err)
			return
		}
	}
}

// send sends a heartbeat, with the version of the list of clients as it is now.
func (m *member) send(message *heartbeat.Message) bool {
	stamped := *message
	stamped.ClientsVersion = m.clients.exchange.Version()
	m.frame = stamped.AppendTo(m.frame[:0])
	err := m.node.conn.Send(m.frame)
	if errors.Is(err, unix.EMSGSIZE) {
		err = errors.Join(m.node.checkMTU(), err)
	}
	m.reporter.sendError = err
	if err != nil {
		m.log.Debug("Heartbeat not sent", "error", err)
	}
	return err == nil
}

// upkeep puts right what others on the node or the segment may have undone.
func (m *member) upkeep(ctx context.Context) {
	if err := m.node.setVIPs(ctx, m.node.vips); err != nil {
		m.log.Error("Virtual IPs not checked", "error", err)
	}
	m.announce()
}

func (m *member) announce() {
	if m.out.Decision.LeaseUntil == 0 {
		return
	}
	if err := m.node.announce(); err != nil {
		m.log.Debug("Virtual IPs not announced", "error", err)
	}
}

// sample reads the counters, judges them, and lets peers and people know.
func (m *member) sample(ctx context.Context) error {
	s, err := m.sampler.read(&m.out)
	if err != nil {
		return err
	}
	s.stall.Peers = peersOf(m.machine.PeerTraffic())
	verdict, changed := m.detector.Observe(s.stall)
	if changed {
		m.log.Info("Stall verdict changed", "reason", verdict.Reason, "queue", verdict.Queue, "message", verdict.Message)
	}
	m.reporter.sample, m.reporter.verdict = s, verdict
	events := []convergence.Event{convergence.Carrier{Up: s.link.Running}, convergence.Traffic{
		PacketsHandled: uint32(s.counters.Admitted),
		SYNs:           uint32(s.stall.SYNs - s.stall.RepeatedSYNs), // clients, not their patience
		Handshakes:     uint32(s.counters.HandshakesCompleted),
		StallReason:    stallCode(verdict.Reason),
		Evict:          m.offered.StallEvicts && verdict.Stalled(),
	}}
	if s.swept {
		m.watchTable(&s)
		begun := filter.Now()
		if err := m.clients.swept(m.applied); err != nil {
			return err
		}
		m.sampler.nextSweep += sweepShare * (filter.Now() - begun)
		events = append(events, convergence.Idle{Table: s.connections.Idle})
		if m.drain.over(s.stall.At, m.out.View.State, s.connections.Count, s.connections.HalfOpen) {
			m.log.Info("Drained, stopping", "connectionsCut", s.connections.Count)
			events = append(events, convergence.AdminStateChanged{State: convergence.Stopped})
		}
	}
	if err := m.step(ctx, events...); err != nil {
		return err
	}
	m.report()
	return nil
}

// watchTable notices when there is no room for new connections, and when there is again.
func (m *member) watchTable(s *sample) {
	m.reporter.table.size = m.offered.Connections
	if !m.reporter.table.observe(s.connections.Count, s.counters.Untracked) {
		return
	}
	if m.reporter.table.full {
		m.log.Warn("Connection table full", "message", m.reporter.table.message())
	} else {
		m.log.Info("Connection table has room again", "connections", s.connections.Count)
	}
}

// report passes the host's state on to the socket and the sink, which write what is news.
func (m *member) report() {
	status := m.reporter.build(m)
	m.agent.publish(m.offered.Config.Host, status, m.roster.peers(m.out.View, m.offered.HostID))
}
