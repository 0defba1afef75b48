// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// stateSection is the map behind the global filter_state. A bpffs takes no dots in names,
// so it is pinned as "state".
const stateSection = ".bss"

func pinName(mapName string) string {
	if mapName == stateSection {
		return "state"
	}
	return mapName
}

// openedMaps are the maps by name in the object.
type openedMaps struct {
	byName map[string]*ebpf.Map
	// adopted: all of them were pinned, and are of this layout.
	adopted bool
	// resized is the pinned connection table where it differs in size alone.
	resized *ebpf.Map
}

// isClientMap tells the maps that came with extended affinity. They are never in the way of taking over the others.
func isClientMap(name string) bool { return name == wlbsMapClients || name == wlbsMapExceptions }

func (o *openedMaps) close() {
	for _, m := range o.byName {
		_ = m.Close()
	}
	if o.resized != nil {
		_ = o.resized.Close()
	}
}

// sharedMaps are the specs of the maps that outlive the programs.
func sharedMaps(spec *ebpf.CollectionSpec) map[string]*ebpf.MapSpec {
	shared := maps.Clone(spec.Maps)
	maps.DeleteFunc(shared, func(name string, _ *ebpf.MapSpec) bool {
		return name != stateSection && name[0] == '.'
	})
	return shared
}

// openMaps adopts the maps pinned under path, or creates new ones, which it does not pin.
func openMaps(spec *ebpf.CollectionSpec, path string) (*openedMaps, error) {
	spec.Maps[stateSection].Flags |= unix.BPF_F_MMAPABLE
	shared := sharedMaps(spec)
	adopted, err := adoptMaps(shared, path)
	if err == nil {
		return adopted, nil
	}
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ebpf.ErrMapIncompatible) {
		return nil, err
	}
	created := &openedMaps{byName: map[string]*ebpf.Map{}}
	for name, s := range shared {
		m, err := ebpf.NewMap(s)
		if err != nil {
			created.close()
			return nil, fmt.Errorf("map %s: %w", pinName(name), err)
		}
		created.byName[name] = m
	}
	return created, nil
}

// adoptMaps fails with os.ErrNotExist or ebpf.ErrMapIncompatible where new maps are needed.
func adoptMaps(shared map[string]*ebpf.MapSpec, path string) (_ *openedMaps, err error) {
	o := &openedMaps{byName: map[string]*ebpf.Map{}, adopted: true}
	defer func() {
		if err != nil {
			o.close()
		}
	}()
	for name, s := range shared {
		m, err := ebpf.LoadPinnedMap(filepath.Join(path, pinName(name)), nil)
		if errors.Is(err, os.ErrNotExist) && isClientMap(name) {
			m, err = ebpf.NewMap(s) // of an agent without extended affinity
		}
		if err != nil {
			return nil, fmt.Errorf("pinned map %s: %w", pinName(name), err)
		}
		if err := s.Compatible(m); err == nil {
			o.byName[name] = m
			continue
		}
		resized := s.Copy()
		resized.MaxEntries = m.MaxEntries()
		if name != wlbsMapConnections || resized.Compatible(m) != nil {
			_ = m.Close()
			return nil, fmt.Errorf("pinned map %s: %w", pinName(name), ebpf.ErrMapIncompatible)
		}
		o.resized = m
		if o.byName[name], err = ebpf.NewMap(s); err != nil {
			return nil, fmt.Errorf("map %s: %w", pinName(name), err)
		}
	}
	return o, o.checkLayout()
}

func (o *openedMaps) checkLayout() error {
	s, err := mapState(o.byName[stateSection])
	if err != nil {
		return err
	}
	found := s.shared.Layout
	if err := s.close(); err != nil {
		return err
	}
	if found != layout {
		return fmt.Errorf("pinned maps of layout %d, need %d: %w", found, layout, ebpf.ErrMapIncompatible)
	}
	return nil
}

// pin puts the maps where adoptMaps finds them, replacing others.
func (o *openedMaps) pin(path string) error {
	for name, m := range o.byName {
		if m.IsPinned() {
			continue
		}
		file := filepath.Join(path, pinName(name))
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unpin former map %s: %w", pinName(name), err)
		}
		if err := m.Pin(file); err != nil {
			return fmt.Errorf("pin map %s: %w", pinName(name), err)
		}
	}
	return nil
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

// ensurePinDirectory makes path, which has to be in a bpffs.
func ensurePinDirectory(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("pin path %q: not absolute", path)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return fmt.Errorf("pin path: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return fmt.Errorf("pin path %s: statfs: %w", path, err)
	}
	if fs.Type != unix.BPF_FS_MAGIC {
		return fmt.Errorf("pin path %s: not in a bpf file system (mount -t bpf bpf /sys/fs/bpf)", path)
	}
	return nil
}

// Cleanup detaches whatever programs are pinned under path, and unpins everything there,
// with or without a Filter that has it open in this process. It is idempotent.
func Cleanup(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pin path: %w", err)
	}
	var errs []error
	attached := map[string]bool{}
	for _, p := range places() {
		errs = append(errs, p.remove(path))
		attached[p.pinName()] = true
	}
	for _, e := range entries {
		if !attached[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(path, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	return nil
}
