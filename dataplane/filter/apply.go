// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Apply puts t in force. The switch is atomic: a packet is judged by the former table or by
// t, never by parts of both.
func (f *Filter) Apply(t Table) error {
	c, err := compile(&t)
	if err != nil {
		return fmt.Errorf("filter: epoch %d: %w", t.Epoch, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if Now()-f.applied < settled {
		awaitReaders() // else the last commit's readers are gone for long
	}
	held := f.heldUnder(c)
	f.state.commit(c, &held)
	var before map[uint32]int
	if f.compiled != nil {
		before = f.compiled.stickySlots()
	}
	f.compiled, f.held, f.applied = c, held, Now()
	if err := f.purgeClients(before, c.stickySlots()); err != nil {
		return fmt.Errorf("filter: %w", err)
	}
	if !f.pending {
		return nil
	}
	if err := f.install(); err != nil {
		return fmt.Errorf("filter: replace programs: %w", err)
	}
	f.pending = false
	return nil
}

// heldUnder returns in which buckets connections of earlier epochs may be, once c is in
// force. A change of ports or affinity moves connections to other slots and buckets: until
// the next sweep it may be any.
func (f *Filter) heldUnder(c *compiled) bucket.Table {
	var held bucket.Table
	for i := range held {
		held[i] = bucket.All
		if f.compiled != nil && c.sameMapping(f.compiled) {
			held[i] = f.held[i] | f.compiled.table.Slots[i].Own
		}
	}
	return held
}

// SetBusy replaces the Busy buckets of the table in force, of which those that are not own
// do not matter.
func (f *Filter) SetBusy(busy bucket.Table) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.compiled == nil {
		return fmt.Errorf("filter: set busy buckets: no table is in force")
	}
	policy := f.state.active()
	for i := range busy {
		slot := &f.compiled.table.Slots[i]
		slot.Busy = busy[i]
		storeBusy(&policy.Slots[i], slot)
	}
	return nil
}

// inForce returns the table in force, nil before the first Apply, and since when it is.
func (f *Filter) inForce() (*compiled, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.compiled, f.applied
}

// setHeld narrows down where connections of earlier epochs are, unless there was another
// Apply after the sweep that found out began.
func (f *Filter) setHeld(c *compiled, tracked *bucket.Table) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c == nil || f.compiled != c {
		return
	}
	policy := f.state.active()
	for i := range tracked {
		slot := &c.table.Slots[i]
		f.held[i] = tracked[i].Minus(slot.Own)
		storeHeld(&policy.Slots[i], slot, f.held[i])
	}
}
