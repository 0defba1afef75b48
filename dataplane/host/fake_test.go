// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

// op is something that a host asks its node, filter or link for.
type op string

const (
	opApply  op = "apply"
	opBusy   op = "busy"
	opRevoke op = "revoke"
	opRenew  op = "renew"
	opSend   op = "send"
	opVIPs   op = "vips"
	opCount  op = "count"
	opSweep  op = "sweep"
	opSave   op = "save"
	opClose  op = "close"
	opRemove op = "remove"
)

var errInjected = errors.New("injected failure")

// node is a node with its pins, files and addresses, which outlive its hosts. It checks what hosts do in which order,
// and fails the test where two hosts could serve one client.
type node struct {
	t       *testing.T
	segment *segment
	id      int32
	began   time.Time

	// inject is asked before each op; an error fails it, and it may sleep.
	inject func(op) error
	ops    []op

	// What outlives hosts.
	table    *filter.Table
	lease    time.Duration
	vips     []netip.Addr
	saved    Saved
	snapshot []byte

	// What belongs to the host that runs.
	host        *Host
	over        bool // it let go of the node
	applyFailed bool
	leftAt      time.Duration // when its last heartbeat left
	leftHold    time.Duration // the hold that was in it
	reports     []Report
	refused     []status.Refused
}

// segment connects the nodes.
type segment struct {
	nodes []*node

	mu    sync.Mutex
	trace []string
}

func newSegment(t *testing.T, hosts int) *segment {
	t.Helper()
	s := &segment{}
	began := time.Now()
	for id := range int32(hosts) {
		s.nodes = append(s.nodes, &node{t: t, segment: s, id: id + 1, began: began, inject: func(op) error { return nil }})
	}
	return s
}

// now begins at an hour, so that the zero time is long ago.
func (n *node) now() time.Duration { return time.Hour + time.Since(n.began) }

func (n *node) do(o op) error {
	n.t.Helper()
	n.ops = append(n.ops, o)
	if n.over && o != opClose {
		n.violated("%s after the host let go of the node", o)
	}
	return n.inject(o)
}

// note writes down what a node did, for the first violation to show.
func (n *node) note(format string, args ...any) {
	line := fmt.Sprintf("%v host %d ", n.now()-time.Hour, n.id) + fmt.Sprintf(format, args...)
	n.segment.mu.Lock()
	defer n.segment.mu.Unlock()
	n.segment.trace = append(n.segment.trace, line)
}

func (n *node) violated(format string, args ...any) {
	n.t.Helper()
	n.segment.mu.Lock()
	if trace := n.segment.trace; trace != nil {
		const shown = 100
		n.t.Logf("before:\n%s", strings.Join(trace[max(0, len(trace)-shown):], "\n"))
		n.segment.trace = nil
	}
	n.segment.mu.Unlock()
	tail := n.ops[max(0, len(n.ops)-12):]
	n.t.Errorf("%v host %d: %s (last operations: %v)", n.now()-time.Hour, n.id, fmt.Sprintf(format, args...), tail)
}

// open are the buckets whose new connections the node lets in now.
func (n *node) open() bucket.Table {
	var out bucket.Table
	if n.table == nil || n.lease <= n.now() {
		return out
	}
	for i := range n.table.Slots {
		out[i] = n.table.Slots[i].Own
	}
	return out
}

// check fails the test if two nodes let the same client in.
func (n *node) check() {
	n.t.Helper()
	own := n.open()
	for _, other := range n.segment.nodes {
		if other == n {
			continue
		}
		for slot, theirs := range other.open() {
			if both := own[slot] & theirs; both != 0 {
				n.violated("buckets %s of slot %d are open on host %d too", both, slot, other.id)
			}
		}
	}
}

// Apply implements Filter.
func (n *node) Apply(t filter.Table) error {
	if err := n.do(opApply); err != nil {
		n.applyFailed = true
		return err
	}
	if err := t.Validate(); err != nil {
		n.violated("table: %v", err)
	}
	n.applyFailed, n.table = false, &t
	n.note("applies epoch %d, own %v", t.Epoch, t.Slots[0].Own)
	n.check()
	return nil
}

// SetBusy implements Filter.
func (n *node) SetBusy(bucket.Table) error { return n.do(opBusy) }

// Revoke implements Filter.
func (n *node) Revoke() error {
	if err := n.do(opRevoke); err != nil {
		return err
	}
	n.lease = 0
	return nil
}

// RenewLease implements Filter. A lease is covered by a heartbeat that left: peers wait for a timeout after it, or for
// the hold in it.
func (n *node) RenewLease(until time.Duration) error {
	if err := n.do(opRenew); err != nil {
		return err
	}
	timeout := time.Duration(n.host.planInForce().Tolerance) * n.host.planInForce().Period
	if until > n.lease && until > n.leftAt+max(timeout, n.leftHold) {
		n.violated("lease until %v, but the last heartbeat left at %v", until-time.Hour, n.leftAt-time.Hour)
	}
	n.lease = until
	n.note("lease until %v", until-time.Hour)
	n.check()
	return nil
}

// Send implements Link.
func (n *node) Send(payload []byte) error {
	if err := n.do(opSend); err != nil {
		return err
	}
	if heartbeat.KindOf(payload) == heartbeat.KindMembership {
		message, err := heartbeat.Unmarshal(payload)
		if err != nil {
			n.violated("heartbeat: %v", err)
		}
		n.told(&message)
	}
	for _, other := range n.segment.nodes {
		if other != n && other.host != nil {
			_ = other.host.Receive(payload)
		}
	}
	return nil
}

// told checks that a heartbeat claims nothing that the filter does not do.
func (n *node) told(m *heartbeat.Message) {
	n.note("tells committed %v, round %v, flags %b, ready %v, heard %b", m.Committed, m.Round, m.Flags, m.Ready[0], m.Heard)
	n.leftAt, n.leftHold = n.now(), time.Duration(m.HoldMillis)*time.Millisecond
	if n.applyFailed {
		n.violated("a heartbeat claims what could not be applied")
	}
	for slot, open := range n.open() {
		if hidden := open.Minus(m.Ready[slot]); hidden != 0 {
			n.violated("told that it released buckets %s of slot %d, which are open", hidden, slot)
		}
		if both := open & m.Idle[slot]; both != 0 {
			n.violated("told that buckets %s of slot %d are idle, which are open", both, slot)
		}
	}
	if n.lease > n.now() && n.host.out.Decision.LeaseUntil == 0 {
		n.violated("the filter goes on although its lease is given up")
	}
	if n.table != nil && uint64(m.Committed.Number) > n.table.Epoch {
		n.violated("told epoch %d, the filter works by %d", m.Committed.Number, n.table.Epoch)
	}
}

// Counters implements Filter.
func (n *node) Counters() (filter.Counters, error) { return filter.Counters{}, n.do(opCount) }

// Connections implements Filter.
func (n *node) Connections(time.Duration) (filter.Connections, error) {
	var c filter.Connections
	for i := range c.Idle {
		c.Idle[i] = bucket.All
	}
	return c, n.do(opSweep)
}

// Held implements Filter.
func (n *node) Held() (sticky.Held, error) { return sticky.Held{}, nil }

// DropClients implements Filter.
func (n *node) DropClients([]sticky.Client) error { return nil }

// Exceptions implements Filter.
func (n *node) Exceptions() (map[sticky.Client]uint8, error) { return map[sticky.Client]uint8{}, nil }

// SetExceptions implements Filter.
func (n *node) SetExceptions(map[sticky.Client]uint8, []sticky.Client) error { return nil }

// Await implements Filter.
func (n *node) Await() {}

// Place implements Node.
func (n *node) Place() Place {
	return Place{Interface: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, byte(n.id)}, Hook: v1alpha1.HookXDP}
}

// Addresses implements Node.
func (n *node) Addresses() []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{10, 77, 0, byte(n.id)})}
}

// Refused implements Node.
func (n *node) Refused(_ context.Context, vips []netip.Addr) ([]status.Refused, error) {
	others := func(r status.Refused) bool { return !slices.Contains(vips, r.VirtualIP) }
	return slices.DeleteFunc(slices.Clone(n.refused), others), nil
}

// SetVIPs implements Node.
func (n *node) SetVIPs(_ context.Context, vips []netip.Addr) error {
	if err := n.do(opVIPs); err != nil {
		return err
	}
	if n.table == nil {
		n.violated("virtual IPs before there is a filter")
	}
	for _, r := range n.refused {
		if slices.Contains(vips, r.VirtualIP) {
			n.violated("virtual IP %s is the node's own", r.VirtualIP)
		}
	}
	n.vips = slices.Clone(vips)
	return nil
}

// Announce implements Node.
func (n *node) Announce([]netip.Addr) error { return nil }

// Close implements Node.
func (n *node) Close() error {
	n.over = true
	return n.do(opClose)
}

// Remove implements Node.
func (n *node) Remove(context.Context) error {
	if err := n.do(opRemove); err != nil {
		return err
	}
	n.over, n.table, n.lease, n.vips = true, nil, 0, nil
	return nil
}

// Load implements Store.
func (n *node) Load() Saved { return n.saved }

// Save implements Store.
func (n *node) Save(s Saved) error {
	if err := n.do(opSave); err != nil {
		return err
	}
	n.saved = s
	return nil
}

// SaveSnapshot implements Store.
func (n *node) SaveSnapshot(content []byte) error {
	n.snapshot = content
	return nil
}

// TakeSnapshot implements Store.
func (n *node) TakeSnapshot() ([]byte, error) {
	content := n.snapshot
	n.snapshot = nil
	return content, nil
}

// runtime is an agent that leads a node from one host to the next.
type runtime struct {
	*node
	wanted  plan.Config
	updates chan plan.Config
	hold    time.Duration
	ending  Ending
	stop    context.CancelFunc
	done    chan Ending
	log     strings.Builder
}

// start begins to run hosts on a node until the returned runtime is ended.
func (n *node) start(config plan.Config) *runtime {
	ctx, stop := context.WithCancel(context.Background())
	r := &runtime{
		node: n, wanted: config, updates: make(chan plan.Config, 1), hold: 10 * time.Second, ending: EndingRestart,
		stop: stop, done: make(chan Ending, 1),
	}
	go func() { r.done <- r.run(ctx) }()
	return r
}

// end ends it, and returns how the last host ended.
func (r *runtime) end(ending Ending) Ending {
	r.ending = ending
	r.stop()
	return <-r.done
}

func (r *runtime) run(ctx context.Context) Ending {
	for {
		ending, err := r.once(ctx)
		if ctx.Err() != nil {
			return ending
		}
		if err != nil && !errors.Is(err, errInjected) {
			r.t.Errorf("host %d: %v", r.id, err)
		}
		if r.wanted.Removed() {
			return ending
		}
		if err != nil {
			time.Sleep(2 * time.Second)
		}
	}
}

func (r *runtime) once(ctx context.Context) (Ending, error) {
	p, err := plan.New(r.wanted)
	if err != nil {
		return EndingFailure, err
	}
	r.over, r.applyFailed = false, false
	samples := make(chan InterfaceSample, 1)
	samples <- InterfaceSample{Running: true}
	h, err := New(Config{
		Plan: p, Updates: r.updates, Filter: r.node, Link: r.node, Node: r.node, Store: r.node, Samples: samples, Now: r.now,
		Report: func(report Report) { r.reports = append(r.reports[max(0, len(r.reports)-100):], report) },
		Hold:   r.hold, Ending: func(context.Context) (Ending, string) { return r.ending, "the test says so" },
		Log: slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	if err != nil {
		return EndingFailure, errors.Join(err, r.Close())
	}
	sampling, stop := context.WithCancel(context.Background())
	var sampler sync.WaitGroup
	defer sampler.Wait()
	defer stop()
	sampler.Go(func() {
		for sampling.Err() == nil {
			select {
			case samples <- InterfaceSample{Running: true}:
			default:
			}
			select {
			case <-time.After(SampleInterval):
			case <-sampling.Done():
			}
		}
	})
	r.host = h
	ending, err := h.Run(ctx)
	r.host, r.wanted = nil, h.Wanted()
	if !r.over {
		r.violated("the host ended (%d, %v) and did not let go of the node", ending, err)
	}
	return ending, err
}

// state is what the host reported last.
func (n *node) state() (v1alpha1.HostState, []int32) {
	if len(n.reports) == 0 {
		return "", nil
	}
	s := &n.reports[len(n.reports)-1].Host.Status
	return s.State, s.Members
}
