// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/sticky"
)

// Await returns when no program runs any more that began before the call.
func (f *Filter) Await() { awaitReaders() }

// Held returns the clients that stay with this host, by the table in force. It reads all entries. Those outside of the
// own buckets are complete after Await: no more come until the next Apply.
func (f *Filter) Held() (sticky.Held, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var held sticky.Held
	if f.compiled == nil {
		return held, nil
	}
	slots := f.compiled.stickySlots()
	err := f.eachClient(func(c *sticky.Client, _ *wlbsClient) {
		i, ok := slots[c.Rule]
		switch {
		case !ok:
		case f.compiled.table.Slots[i].Own.Has(bucketOf(c)):
			held.Own = append(held.Own, *c)
		default:
			held.Away = append(held.Away, *c)
		}
	})
	return held, err
}

// DropClients forgets clients: they go to the owners of their buckets. Their open connections stay.
func (f *Filter) DropClients(clients []sticky.Client) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.compiled == nil || len(clients) == 0 {
		return nil
	}
	slots := f.compiled.stickySlots()
	policy := f.state.value.policy()
	for i := range clients {
		if slot, ok := slots[clients[i].Rule]; ok {
			// The next sweep knows better.
			f.held[slot] = f.held[slot].With(bucketOf(&clients[i]))
			storeHeld(&policy.Slots[slot], &f.compiled.table.Slots[slot], f.held[slot])
		}
		if err := f.deleteClient(&clients[i]); err != nil {
			return err
		}
	}
	return nil
}

// Exceptions returns the clients that other hosts hold, with the hosts' IDs, as SetExceptions left them.
func (f *Filter) Exceptions() (map[sticky.Client]uint8, error) {
	out := map[sticky.Client]uint8{}
	err := eachEntry(f.maps.byName[wlbsMapExceptions], func(k *wlbsClientKey, v *wlbsException) {
		out[clientOf(k)] = uint8(v.Holder)
	})
	return out, err
}

// ErrExceptionsFull says that there is no room for all clients that other hosts hold: this host may accept some of
// them.
var ErrExceptionsFull = errors.New("more clients are held by other hosts than there is room for")

// SetExceptions adds clients that other hosts hold and removes others, in this order. What finds no room is left out
// and ErrExceptionsFull returned.
func (f *Filter) SetExceptions(add map[sticky.Client]uint8, remove []sticky.Client) error {
	m := f.maps.byName[wlbsMapExceptions]
	for i := range remove {
		key := keyOf(&remove[i])
		if err := m.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("map exceptions: delete: %w", err)
		}
	}
	var full error
	for c, holder := range add {
		key := keyOf(&c)
		err := m.Update(&key, &wlbsException{Holder: uint32(holder)}, ebpf.UpdateAny)
		switch {
		case isFull(err):
			full = ErrExceptionsFull
		case err != nil:
			return fmt.Errorf("map exceptions: update: %w", err)
		}
	}
	return full
}

// stickySlots returns the slots with extended affinity by their keys.
func (c *compiled) stickySlots() map[uint32]int {
	slots := map[uint32]int{}
	for i := range c.table.Slots {
		if s := &c.table.Slots[i]; s.sticks() {
			slots[s.Sticky] = i
		}
	}
	return slots
}

// purgeClients removes the clients of rules that have no extended affinity here any more.
func (f *Filter) purgeClients(before, now map[uint32]int) error {
	lost := before == nil
	for rule := range before {
		if _, ok := now[rule]; !ok {
			lost = true
		}
	}
	if !lost {
		return nil
	}
	var gone []sticky.Client
	err := f.eachClient(func(c *sticky.Client, _ *wlbsClient) {
		if _, ok := now[c.Rule]; !ok {
			gone = append(gone, *c)
		}
	})
	for i := range gone {
		err = errors.Join(err, f.deleteClient(&gone[i]))
	}
	return err
}

// sweepClients lets live connections keep their clients, and removes clients whose time is over.
func (f *Filter) sweepClients(s *sweep) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.compiled == nil || f.compiled != s.compiled {
		return nil // there was another Apply: the next sweep does it
	}
	slots := s.compiled.stickySlots()
	if len(slots) == 0 {
		return nil
	}
	var over []sticky.Client
	refresh := map[sticky.Client]time.Duration{}
	err := f.eachClient(func(c *sticky.Client, v *wlbsClient) {
		slot, ok := slots[c.Rule]
		connected := s.clients[*c]
		delete(s.clients, *c)
		seen := max(time.Duration(v.Seen), connected)
		switch {
		case !ok || seen < s.now && s.now-seen > s.compiled.table.Slots[slot].StickyFor:
			over = append(over, *c)
			return
		case connected > time.Duration(v.Seen):
			refresh[*c] = connected
		}
		s.result.Clients++
	})
	if err != nil {
		return err
	}
	for i := range over {
		if err := f.expireClient(s, &over[i], slots); err != nil {
			return err
		}
	}
	for c, seen := range refresh {
		if err := f.putClient(&c, seen, ebpf.UpdateExist); err != nil {
			return err
		}
	}
	return f.adoptClients(s, slots)
}

// adoptClients keeps the clients of connections that the programs did not see begin.
func (f *Filter) adoptClients(s *sweep, slots map[uint32]int) error {
	exceptions := f.maps.byName[wlbsMapExceptions]
	for c, seen := range s.clients {
		slot := &s.compiled.table.Slots[slots[c.Rule]]
		if !slot.Own.Has(bucketOf(&c)) || s.now-seen > slot.StickyFor {
			continue
		}
		key, ignored := keyOf(&c), wlbsException{}
		if err := exceptions.Lookup(&key, &ignored); !errors.Is(err, ebpf.ErrKeyNotExist) {
			continue
		}
		if err := f.putClient(&c, seen, ebpf.UpdateNoExist); err != nil {
			return err
		}
		s.result.Clients++
	}
	return nil
}

// expireClient looks again before it deletes: a datagram may have come.
func (f *Filter) expireClient(s *sweep, c *sticky.Client, slots map[uint32]int) error {
	var v wlbsClient
	key := keyOf(c)
	err := f.maps.byName[wlbsMapClients].Lookup(&key, &v)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("map clients: %w", err)
	}
	if slot, ok := slots[c.Rule]; ok && time.Duration(v.Seen)+s.compiled.table.Slots[slot].StickyFor >= s.now {
		return nil
	}
	return f.deleteClient(c)
}

// putClient leaves out what finds no room or is no more.
func (f *Filter) putClient(c *sticky.Client, seen time.Duration, flags ebpf.MapUpdateFlags) error {
	key := keyOf(c)
	err := f.maps.byName[wlbsMapClients].Update(&key, &wlbsClient{Seen: uint64(seen)}, flags)
	if err == nil || isFull(err) || errors.Is(err, ebpf.ErrKeyExist) || errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	}
	return fmt.Errorf("map clients: update: %w", err)
}

func (f *Filter) deleteClient(c *sticky.Client) error {
	key := keyOf(c)
	if err := f.maps.byName[wlbsMapClients].Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("map clients: delete: %w", err)
	}
	return nil
}

func (f *Filter) eachClient(visit func(*sticky.Client, *wlbsClient)) error {
	return eachEntry(f.maps.byName[wlbsMapClients], func(k *wlbsClientKey, v *wlbsClient) {
		c := clientOf(k)
		visit(&c, v)
	})
}

// eachEntry visits every entry once, also where it changes meanwhile.
func eachEntry[K comparable, V any](m *ebpf.Map, visit func(*K, *V)) error {
	var (
		cursor ebpf.MapBatchCursor
		keys   = make([]K, min(sweepBatch, int(m.MaxEntries())))
		values = make([]V, len(keys))
	)
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read entries: %w", err)
		}
		for i := range n {
			visit(&keys[i], &values[i])
		}
		if last {
			return nil
		}
	}
}

// bucketOf returns a client's bucket. Its address is masked already.
func bucketOf(c *sticky.Client) int { return bucket.Of(netip.AddrFrom16(c.Addr), 0) }

// sticks reports whether clients stay with their hosts.
func (s *Slot) sticks() bool { return s.Sticky != 0 && s.Filter == ModeMultiple }

// client returns whom a slot with extended affinity keeps.
func (s *Slot) client(from [4]uint32) sticky.Client {
	return sticky.Client{Rule: s.Sticky, Addr: s.masked(address(from)).As16()}
}

func keyOf(c *sticky.Client) wlbsClientKey {
	k := wlbsClientKey{Rule: c.Rule}
	for i := range k.Client {
		k.Client[i] = binary.LittleEndian.Uint32(c.Addr[4*i:])
	}
	return k
}

func clientOf(k *wlbsClientKey) sticky.Client {
	c := sticky.Client{Rule: k.Rule}
	for i, w := range k.Client {
		binary.LittleEndian.PutUint32(c.Addr[4*i:], w)
	}
	return c
}

func isFull(err error) bool { return errors.Is(err, unix.E2BIG) }
