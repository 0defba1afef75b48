// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
)

// member is a cluster on an interface, opened in this process or pinned only.
type member struct {
	name string
	// number leads from the table of virtual IPs to the cluster's maps; 0 while its pins are of
	// another layout, or in part gone.
	number uint32
	mac    uint64
	vips   vipIndexes // as in its policy in force
	open   bool
	// foreign: the programs attached serve it by maps of another layout.
	foreign bool
}

// readMembers finds the clusters that are pinned on the interface, and makes sure that the
// programs get to their maps.
func (i *Interface) readMembers() error {
	names, err := pinnedClusters(i.config.Root)
	if err != nil {
		return err
	}
	taken := map[uint32]bool{}
	for _, name := range names {
		m, err := i.readMember(name)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if taken[m.number] {
			m.number = 0
		}
		m.vips = i.unclaimed(m, m.vips)
		if m.number != 0 {
			if err := i.connect(m); err != nil {
				return err
			}
			taken[m.number] = true
		}
		i.members[name] = m
	}
	for n := uint32(1); n <= MaxClusters; n++ {
		if !taken[n] {
			if err := i.disconnect(n); err != nil {
				return err
			}
		}
	}
	if err := i.syncMACs(); err != nil {
		return err
	}
	return i.recompose()
}

// readMember returns nil if the cluster is not on the interface.
func (i *Interface) readMember(name string) (*member, error) {
	r, err := readRecord(clusterPath(i.config.Root, name))
	if err != nil || r == nil || r.ifindex != uint32(i.config.Ifindex) {
		return nil, err
	}
	m := &member{name: name, number: r.number, mac: r.mac, vips: r.vips, foreign: r.layout != layout}
	if m.foreign || m.number > MaxClusters {
		m.number = 0
	}
	return m, nil
}

// refresh looks again for clusters that are not opened: they may have been cleaned up, or have
// gone to another interface.
func (i *Interface) refresh() error {
	for name, m := range i.members {
		if m.open {
			continue
		}
		now, err := i.readMember(name)
		if err != nil {
			return err
		}
		if now == nil {
			delete(i.members, name)
		}
	}
	return nil
}

// connect makes the programs get to the pinned maps of a cluster.
func (i *Interface) connect(m *member) error {
	o, err := adoptClusterMaps(i.clusterMaps, clusterPath(i.config.Root, m.name), true)
	if isUnusable(err) {
		m.number = 0 // in part gone
		return nil
	}
	if err != nil {
		return err
	}
	defer o.close()
	return i.putMaps(m.number, o.byName)
}

// putMaps enters a cluster's maps under its number. The kernel waits for the programs that
// may use what was there, so all wait at once.
func (i *Interface) putMaps(number uint32, inner map[string]*ebpf.Map) error {
	return i.eachOuter(func(name string, outer *ebpf.Map) error {
		info, err := inner[name].Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		var there uint32
		if outer.Lookup(number, &there) == nil && ebpf.MapID(there) == id {
			return nil
		}
		return outer.Update(number, inner[name], ebpf.UpdateAny)
	})
}

// disconnect frees a number.
func (i *Interface) disconnect(number uint32) error {
	return i.eachOuter(func(_ string, outer *ebpf.Map) error { return deleteInner(outer, number) })
}

func deleteInner(outer *ebpf.Map, number uint32) error {
	var there uint32
	if errors.Is(outer.Lookup(number, &there), ebpf.ErrKeyNotExist) {
		return nil // a delete waits for the programs, also where there is nothing
	}
	if err := outer.Delete(number); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

func (i *Interface) eachOuter(do func(name string, outer *ebpf.Map) error) error {
	errs := make([]error, len(clusterMaps))
	var wait sync.WaitGroup
	for n, name := range clusterMaps {
		wait.Go(func() {
			if err := do(name, i.maps[name]); err != nil {
				errs[n] = fmt.Errorf("map %s: %w", name, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// freeNumber returns a number that no cluster on the interface has.
func (i *Interface) freeNumber() (uint32, error) {
	var taken [MaxClusters + 1]bool
	for _, m := range i.members {
		taken[m.number] = true
	}
	for n := uint32(1); n <= MaxClusters; n++ {
		if !taken[n] {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%d clusters on one interface, at most %d", MaxClusters+1, MaxClusters)
}

// syncMACs makes the set of cluster MACs that of the clusters on the interface, of which two
// may have the same.
func (i *Interface) syncMACs() error {
	set := i.maps[wlbsMapClusterMacs]
	want := map[uint64]bool{}
	for _, m := range i.members {
		if m.number == 0 {
			continue
		}
		want[m.mac] = true
		if err := set.Put(m.mac, uint32(1)); err != nil {
			return fmt.Errorf("map %s: %w", wlbsMapClusterMacs, err)
		}
	}
	var gone []uint64
	if err := eachEntry(set, func(mac *uint64, _ *uint32) {
		if !want[*mac] {
			gone = append(gone, *mac)
		}
	}); err != nil {
		return fmt.Errorf("map %s: %w", wlbsMapClusterMacs, err)
	}
	for _, mac := range gone {
		if err := set.Delete(mac); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("map %s: %w", wlbsMapClusterMacs, err)
		}
	}
	return nil
}

// changeVIPs lets commit put a policy with other virtual IPs in force, and then the table that
// leads to them. Whatever would be refused is so before commit is called.
//
// Between the two a new virtual IP is none yet, and one that goes is none any more.
func (i *Interface) changeVIPs(m *member, vips *vipIndexes, commit func()) error {
	i.mu.Lock()
	if m.vips == *vips {
		i.mu.Unlock()
		commit() // nothing that other clusters' packets read changes
		return nil
	}
	defer i.mu.Unlock()
	if err := i.refresh(); err != nil {
		return err
	}
	before := m.vips
	m.vips = *vips
	c, err := i.compose()
	if err != nil {
		m.vips = before
		return err
	}
	commit()
	i.flip(c)
	return nil
}

// recompose puts the virtual IPs in force that the clusters have by their policies.
func (i *Interface) recompose() error {
	c, err := i.compose()
	if err != nil {
		return err
	}
	if !c.isIn(i.table()) {
		i.flip(c)
	}
	return nil
}

func (i *Interface) table() *wlbsVipTable {
	return &i.globals.value.Tables[atomic.LoadUint32(&i.globals.value.Active)]
}

// flip makes c the table in force, as commit does with a policy.
func (i *Interface) flip(c *composed) {
	if Now()-i.flipped < settled {
		awaitReaders()
	}
	next := 1 - atomic.LoadUint32(&i.globals.value.Active)
	c.store(&i.globals.value.Tables[next])
	atomic.StoreUint32(&i.globals.value.Active, next)
	i.flipped = Now()
}

// compose refuses a virtual IP that two clusters claim.
func (i *Interface) compose() (*composed, error) {
	owners := map[netip.Addr]string{}
	var all []owned
	for _, name := range slices.Sorted(maps.Keys(i.members)) {
		m := i.members[name]
		if m.number == 0 {
			continue
		}
		for index, vip := range m.vips {
			if !vip.IsValid() {
				continue
			}
			if owner, ok := owners[vip]; ok {
				return nil, fmt.Errorf("virtual IP %s: clusters %s and %s both claim it", vip, owner, name)
			}
			owners[vip] = name
			all = append(all, owned{vip, cellOf(m.number, index)})
		}
	}
	return compose(i.table().Seed, all)
}

// unclaimed returns those of a member's virtual IPs that no other member has. Only a cluster that
// comes from another interface can have others: what was claimed first stays.
func (i *Interface) unclaimed(m *member, vips vipIndexes) vipIndexes {
	for _, other := range i.members {
		if other == m || other.number == 0 {
			continue
		}
		for index, vip := range vips {
			if vip.IsValid() && slices.Contains(other.vips[:], vip) {
				i.config.Log.Warn("Virtual IP has another cluster already", "vip", vip, "cluster", m.name, "holder", other.name)
				vips[index] = netip.Addr{}
			}
		}
	}
	return vips
}

// RemoveCluster leaves nothing of a cluster that is pinned on the interface and not opened, as
// Filter.Remove does for one that is. Nothing there is no error.
func (i *Interface) RemoveCluster(cluster string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if m := i.members[cluster]; m != nil && m.open {
		return fmt.Errorf("filter: cluster %s: is open", cluster)
	}
	return i.removeClosed(cluster)
}

// removeClosed removes a cluster if it is still on the interface.
func (i *Interface) removeClosed(cluster string) error {
	if err := i.refresh(); err != nil {
		return fmt.Errorf("filter: cluster %s: remove: %w", cluster, err)
	}
	m := i.members[cluster]
	if m == nil {
		return nil
	}
	return i.forget(m)
}

// restore makes a cluster that is pinned what it was before an attempt to open it; one that was
// not a member is none again, and keeps its pins.
func (i *Interface) restore(m *member, before member, known bool) error {
	number := m.number
	*m = before
	if !known {
		delete(i.members, m.name)
	}
	err := errors.Join(i.recompose(), i.syncMACs())
	if number != before.number {
		err = errors.Join(err, i.disconnect(number))
	}
	return err
}

// forget removes a cluster: the table first, so that its number is free when the maps go. Its
// state is unpinned last: until then the next agent knows where the rest is.
func (i *Interface) forget(m *member) error {
	delete(i.members, m.name)
	err := i.recompose()
	if err == nil {
		err = i.syncMACs()
	}
	if err == nil && m.number != 0 {
		err = i.disconnect(m.number)
	}
	if err == nil {
		err = unpinCluster(clusterPath(i.config.Root, m.name))
	}
	if err != nil {
		m.open = false
		i.members[m.name] = m
		return fmt.Errorf("filter: cluster %s: remove: %w", m.name, err)
	}
	return i.installPending()
}

// record is what the pins of a cluster tell.
type record struct {
	layout, ifindex, number uint32
	mac                     uint64
	vips                    vipIndexes // of this layout only
}

// readRecord returns nil where no state is pinned.
func readRecord(path string) (*record, error) {
	m, err := ebpf.LoadPinnedMap(clusterFile(path, wlbsMapStates), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pinned state %s: %w", path, err)
	}
	defer func() { _ = m.Close() }()
	header, err := mapShared[wlbsStateHeader](m)
	if err != nil {
		return nil, fmt.Errorf("pinned state %s: %w", path, err)
	}
	h := header.value
	r := &record{layout: h.Layout, ifindex: h.Ifindex, number: h.Cluster, mac: h.ClusterMac}
	if err := header.close(); err != nil || r.layout != layout {
		return r, err
	}
	whole, err := mapShared[wlbsState](m)
	if err != nil {
		return nil, fmt.Errorf("pinned state %s: %w", path, err)
	}
	r.vips = whole.value.vips()
	return r, whole.close()
}
