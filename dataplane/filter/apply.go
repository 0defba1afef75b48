// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Apply puts t in force. The switch is atomic: a packet is judged by the former table or by
// t, never by parts of both.
func (f *Filter) Apply(t Table) error {
	c, err := compile(&t)
	if err != nil {
		return fmt.Errorf("filter: cluster %s: epoch %d: %w", f.config.Cluster, t.Epoch, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if Now()-f.applied < settled {
		awaitReaders() // else the last commit's readers are gone for long
	}
	held := f.heldUnder(c)
	c.place(f.state.value.vips())
	err = f.iface.changeVIPs(f.member, &c.placed, func() { f.state.value.commit(c, &held) })
	if err != nil {
		return fmt.Errorf("filter: cluster %s: epoch %d: %w", f.config.Cluster, t.Epoch, err)
	}
	var before map[uint32]int
	if f.compiled != nil {
		before = f.compiled.stickySlots()
	}
	f.compiled, f.held, f.applied = c, held, Now()
	if err := errors.Join(f.purgeClients(before, c.stickySlots()), f.replacePins()); err != nil {
		return fmt.Errorf("filter: cluster %s: %w", f.config.Cluster, err)
	}
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
		return fmt.Errorf("filter: cluster %s: set busy buckets: no table is in force", f.config.Cluster)
	}
	policy := f.state.value.policy()
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
	policy := f.state.value.policy()
	for i := range tracked {
		slot := &c.table.Slots[i]
		f.held[i] = tracked[i].Minus(slot.Own)
		storeHeld(&policy.Slots[i], slot, f.held[i])
	}
}
