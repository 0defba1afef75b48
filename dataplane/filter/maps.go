// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// globalsSection is the map behind the interface's globals.
const globalsSection = ".bss"

// clusterMaps are the maps that each cluster has its own of, by the name of the outer map in
// the object. States is the last: what is pinned in this order is whole when it is there.
var clusterMaps = [...]string{
	wlbsMapCounts, wlbsMapConnections, wlbsMapHalfOpen, wlbsMapClients, wlbsMapExceptions, wlbsMapStates,
}

// prepare puts right what the object cannot say.
func prepare(spec *ebpf.CollectionSpec) {
	spec.Maps[globalsSection].Flags |= unix.BPF_F_MMAPABLE
	for _, name := range clusterMaps {
		// The kernel only looks at the kind of these, so they take no room.
		if inner := spec.Maps[name].InnerMap; inner.Type == ebpf.Hash {
			inner.MaxEntries = 1
		}
	}
}

// isUnusable tells that new maps are needed in place of the pinned ones.
func isUnusable(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, ebpf.ErrMapIncompatible)
}

// openInterfaceMaps adopts the maps pinned under path, or creates new ones, which it does not
// pin.
func openInterfaceMaps(spec *ebpf.CollectionSpec, path string) (_ map[string]*ebpf.Map, adopted bool, _ error) {
	prepare(spec)
	shared := maps.Clone(spec.Maps)
	maps.DeleteFunc(shared, func(name string, _ *ebpf.MapSpec) bool {
		return name != globalsSection && name[0] == '.'
	})
	found, err := eachMap(shared, func(name string, s *ebpf.MapSpec) (*ebpf.Map, error) {
		return adoptMap(interfaceFile(path, name), s)
	})
	if err == nil {
		err = checkLayout(found[globalsSection])
	}
	if err == nil {
		return found, true, nil
	}
	closeMaps(found)
	if !isUnusable(err) {
		return nil, false, err
	}
	created, err := eachMap(shared, func(_ string, s *ebpf.MapSpec) (*ebpf.Map, error) { return ebpf.NewMap(s) })
	return created, false, err
}

// eachMap opens a map for each spec, or none.
func eachMap(
	specs map[string]*ebpf.MapSpec, open func(string, *ebpf.MapSpec) (*ebpf.Map, error),
) (map[string]*ebpf.Map, error) {
	opened := map[string]*ebpf.Map{}
	for name, s := range specs {
		m, err := open(name, s)
		if err != nil {
			closeMaps(opened)
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		opened[name] = m
	}
	return opened, nil
}

func closeMaps(opened map[string]*ebpf.Map) {
	for _, m := range opened {
		_ = m.Close()
	}
}

// adoptMap fails with os.ErrNotExist or ebpf.ErrMapIncompatible where a new map is needed.
func adoptMap(file string, s *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(file, nil)
	if err != nil {
		return nil, fmt.Errorf("pinned: %w", err)
	}
	if err := s.Compatible(m); err != nil {
		_ = m.Close()
		return nil, fmt.Errorf("pinned: %w", err)
	}
	return m, nil
}

func checkLayout(globals *ebpf.Map) error {
	s, err := mapShared[wlbsInterfaceState](globals)
	if err != nil {
		return err
	}
	found := s.value.Layout
	if err := s.close(); err != nil {
		return err
	}
	if found != layout {
		return fmt.Errorf("pinned maps of layout %d, need %d: %w", found, layout, ebpf.ErrMapIncompatible)
	}
	return nil
}

// clusterSpecs are the specs of one cluster's maps, by the name of the outer map.
func clusterSpecs(spec *ebpf.CollectionSpec) map[string]*ebpf.MapSpec {
	specs := map[string]*ebpf.MapSpec{}
	for _, name := range clusterMaps {
		specs[name] = spec.Maps[name].InnerMap.Copy()
		specs[name].Name = name
	}
	return specs
}

// resize returns specs where one of them has another size, unless that is 0.
func resize(specs map[string]*ebpf.MapSpec, name string, entries uint32) map[string]*ebpf.MapSpec {
	if entries == 0 {
		return specs
	}
	resized := maps.Clone(specs)
	resized[name] = specs[name].Copy()
	resized[name].MaxEntries = entries
	return resized
}

// openedMaps are one cluster's maps, by the name of the outer map.
type openedMaps struct {
	byName map[string]*ebpf.Map
	// adopted: all of them were pinned, and are of this layout.
	adopted bool
	// resized is the pinned connection table where it differs in size alone.
	resized *ebpf.Map
}

func (o *openedMaps) close() {
	closeMaps(o.byName)
	if o.resized != nil {
		_ = o.resized.Close()
	}
}

// openClusterMaps adopts the maps pinned under path, or creates new ones, which it does not pin.
func openClusterMaps(specs map[string]*ebpf.MapSpec, path string) (*openedMaps, error) {
	adopted, err := adoptClusterMaps(specs, path, false)
	if err == nil || !isUnusable(err) {
		return adopted, err
	}
	created, err := eachMap(specs, func(_ string, s *ebpf.MapSpec) (*ebpf.Map, error) { return ebpf.NewMap(s) })
	return &openedMaps{byName: created}, err
}

// adoptClusterMaps fails with os.ErrNotExist or ebpf.ErrMapIncompatible where new maps are
// needed. Tables of clients that are missing are no reason: extended affinity starts anew.
func adoptClusterMaps(specs map[string]*ebpf.MapSpec, path string, anySize bool) (_ *openedMaps, err error) {
	o := &openedMaps{byName: map[string]*ebpf.Map{}, adopted: true}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	r, err := readRecord(path)
	if err != nil {
		return nil, err
	}
	if r == nil || r.layout != layout {
		return nil, fmt.Errorf("pinned maps of another layout, need %d: %w", layout, ebpf.ErrMapIncompatible)
	}
	for name, s := range specs {
		file := clusterFile(path, name)
		m, err := ebpf.LoadPinnedMap(file, nil)
		if errors.Is(err, os.ErrNotExist) && (name == wlbsMapClients || name == wlbsMapExceptions) {
			m, err = ebpf.NewMap(s)
		}
		if err != nil {
			return nil, fmt.Errorf("pinned map %s: %w", file, err)
		}
		if s.Compatible(m) == nil {
			o.byName[name] = m
			continue
		}
		resized := s.Copy()
		resized.MaxEntries = m.MaxEntries()
		switch {
		case (name != wlbsMapConnections && !anySize) || resized.Compatible(m) != nil:
			_ = m.Close()
			return nil, fmt.Errorf("pinned map %s: %w", file, ebpf.ErrMapIncompatible)
		case anySize:
			o.byName[name] = m
			continue
		}
		o.resized = m
		if o.byName[name], err = ebpf.NewMap(s); err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	return o, nil
}

// copyResized takes over the connections of the table that was pinned, as far as there is
// room; those that the programs have put into the new one since are newer.
func (o *openedMaps) copyResized() error {
	if o.resized == nil {
		return nil
	}
	var (
		cursor ebpf.MapBatchCursor
		flows  = make([]wlbsFlow, sweepBatch)
		conns  = make([]wlbsConn, sweepBatch)
	)
	for {
		n, err := o.resized.BatchLookup(&cursor, flows, conns, nil)
		last := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !last {
			return fmt.Errorf("read former connections: %w", err)
		}
		for i := range n {
			putErr := o.byName[wlbsMapConnections].Update(&flows[i], &conns[i], ebpf.UpdateNoExist)
			if errors.Is(putErr, unix.E2BIG) {
				return nil
			}
			if putErr != nil && !errors.Is(putErr, ebpf.ErrKeyExist) {
				return fmt.Errorf("take over a connection: %w", putErr)
			}
		}
		if last {
			return nil
		}
	}
}
