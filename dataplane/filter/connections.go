// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

// Timeouts say how long a silent connection is tracked.
type Timeouts struct {
	// Established is for a connection without a FIN. RFC 5382, REQ-5 asks for 2 h 4 min at
	// least, which outlives the default keepalive of 2 h.
	Established time.Duration
	// HalfClosed is for a connection with a FIN of one side: TCPConnectionTimeout of NLB.
	HalfClosed time.Duration
	// HalfOpen is for a SYN that nothing followed: as long as the kernel itself waits, with 5 retries.
	HalfOpen time.Duration
	// Closing is for a connection that is over, whose last segments may be under way.
	Closing time.Duration
}

// DefaultTimeouts are what the zero value of a field in Timeouts stands for.
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Established: 2*time.Hour + 4*time.Minute,
		HalfClosed:  time.Minute,
		HalfOpen:    time.Minute,
		Closing:     10 * time.Second,
	}
}

func (t Timeouts) withDefaults() Timeouts {
	d := DefaultTimeouts()
	for _, f := range []struct{ v, d *time.Duration }{
		{&t.Established, &d.Established},
		{&t.HalfClosed, &d.HalfClosed},
		{&t.HalfOpen, &d.HalfOpen},
		{&t.Closing, &d.Closing},
	} {
		if *f.v == 0 {
			*f.v = *f.d
		}
	}
	return t
}

func (t *Timeouts) of(c *wlbsConn, halfOpen bool) time.Duration {
	switch {
	case isClosing(c):
		return t.Closing
	case halfOpen:
		return t.HalfOpen
	case c.Flags&finBoth != 0:
		return t.HalfClosed
	}
	return t.Established
}

const finBoth = wlbsConnFlagCONN_FIN_CLIENT | wlbsConnFlagCONN_FIN_SERVER

// isClosing is the twin of is_closing in track.h.
func isClosing(c *wlbsConn) bool {
	return c.Flags&wlbsConnFlagCONN_RST != 0 || c.Flags&finBoth == finBoth
}

// Connections is what this host tracks.
type Connections struct {
	Count    int // connections beyond the handshake, those that are closing included
	HalfOpen int // seen once: a SYN, or one segment in mid-stream
	Expired  int // entries that this sweep removed
	// Clients are those that stay with this host by extended affinity.
	Clients int
	// Idle are, per slot, the buckets without any connection that is not closing.
	Idle bucket.Table
}

// settled is how long after a commit a sweep still cannot tell which buckets are idle for
// good: a segment let in under the epoch before may be on its way to the tracking program.
const settled = time.Second

// Connections removes entries whose time is over at now (see Now), and reports what is
// left. It reads all entries: call it about once a second, less often with a large table.
func (f *Filter) Connections(now time.Duration) (Connections, error) {
	f.sweeping.Lock()
	defer f.sweeping.Unlock()

	c, committed := f.inForce()
	s := sweep{compiled: c, now: now, timeouts: f.timeouts, clients: map[sticky.Client]time.Duration{}}
	// Half-open first: the programs move entries from there to the other table, adding
	// before they delete, so an entry on the move is seen once at least.
	var err error
	if s.result.HalfOpen, err = s.table(f.maps.byName[wlbsMapHalfOpen], true); err != nil {
		return Connections{}, fmt.Errorf("map half_open: %w", err)
	}
	if s.result.Count, err = s.table(f.maps.byName[wlbsMapConnections], false); err != nil {
		return Connections{}, fmt.Errorf("map connections: %w", err)
	}
	if err := f.sweepClients(&s); err != nil {
		return Connections{}, fmt.Errorf("map clients: %w", err)
	}
	for i := range s.present {
		s.result.Idle[i] = bucket.All.Minus(s.present[i])
	}
	if now-committed >= settled {
		f.setHeld(c, &s.tracked)
	}
	return s.result, nil
}

// sweep is one walk over the tables.
type sweep struct {
	compiled *compiled
	now      time.Duration
	timeouts Timeouts
	present  bucket.Table // buckets with an entry that is not closing
	tracked  bucket.Table // buckets with any entry
	// clients with extended affinity, and when they last had a connection
	clients map[sticky.Client]time.Duration
	result  Connections
}

const sweepBatch = 4096

func (s *sweep) table(m *ebpf.Map, halfOpen bool) (int, error) {
	var (
		cursor  ebpf.MapBatchCursor
		flows   = make([]wlbsFlow, sweepBatch)
		conns   = make([]wlbsConn, sweepBatch)
		expired []wlbsFlow
		left    int
	)
	for {
		n, err := m.BatchLookup(&cursor, flows, conns, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return 0, fmt.Errorf("read entries: %w", err)
		}
		for i := range n {
			if s.isExpired(&conns[i], halfOpen) {
				expired = append(expired, flows[i])
				continue
			}
			left++
			s.note(&flows[i], &conns[i], halfOpen)
		}
		if err != nil {
			break
		}
	}
	for i := range expired {
		if err := s.expire(m, &expired[i], halfOpen); err != nil {
			return 0, err
		}
	}
	return left, nil
}

func (s *sweep) isExpired(c *wlbsConn, halfOpen bool) bool {
	seen := time.Duration(c.Seen)
	return seen < s.now && s.now-seen > s.timeouts.of(c, halfOpen)
}

// expire looks again before it deletes: the connection may have come back.
func (s *sweep) expire(m *ebpf.Map, flow *wlbsFlow, halfOpen bool) error {
	var c wlbsConn
	err := m.Lookup(flow, &c)
	if errors.Is(err, ebpf.ErrKeyNotExist) || err == nil && !s.isExpired(&c, halfOpen) {
		return nil
	}
	if err == nil {
		err = m.Delete(flow)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete an expired entry: %w", err)
	}
	s.result.Expired++
	return nil
}

func (s *sweep) note(flow *wlbsFlow, c *wlbsConn, halfOpen bool) {
	if s.compiled == nil {
		return
	}
	vip := netip.AddrPortFrom(address(flow.Vip), bits.ReverseBytes16(flow.VipPort))
	slot, ok := s.compiled.tcpSlot(vip)
	if !ok {
		return // no longer a virtual IP of ours
	}
	client := netip.AddrPortFrom(address(flow.Client), bits.ReverseBytes16(flow.ClientPort))
	b := s.compiled.table.Slots[slot].Bucket(client)
	s.tracked[slot] = s.tracked[slot].With(b)
	if p := &s.compiled.table.Slots[slot]; p.sticks() && !halfOpen {
		s.noteClient(p.client(flow.Client), c)
	}
	if !isClosing(c) {
		s.present[slot] = s.present[slot].With(b)
	}
}

// noteClient notes that a client has a connection, or had it until it was closed.
func (s *sweep) noteClient(client sticky.Client, c *wlbsConn) {
	seen := s.now
	if isClosing(c) {
		seen = min(seen, time.Duration(c.Seen))
	}
	s.clients[client] = max(s.clients[client], seen)
}

func address(words [4]uint32) netip.Addr {
	var a [16]byte
	for i, w := range words {
		binary.LittleEndian.PutUint32(a[4*i:], w)
	}
	return netip.AddrFrom16(a).Unmap()
}
