// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Below the root are interfaces/<ifindex>/ with what is an interface's, links included, and
// clusters/<cluster>/ with what is a cluster's. Which interface a cluster is on is in its state.
const (
	interfacesDir = "interfaces"
	clustersDir   = "clusters"
)

func interfacePath(root string, ifindex int) string {
	return filepath.Join(root, interfacesDir, strconv.Itoa(ifindex))
}

// clusterPath replaces dots, which no name in a bpffs has; and no cluster's has an underscore.
func clusterPath(root, cluster string) string {
	return filepath.Join(root, clustersDir, strings.ReplaceAll(cluster, ".", "_"))
}

var clusterName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

func interfacePin(mapName string) string {
	if mapName == globalsSection {
		return "globals"
	}
	return mapName
}

func clusterPin(mapName string) string {
	switch mapName {
	case wlbsMapStates:
		return "state"
	case wlbsMapCounts:
		return "counters"
	}
	return mapName
}

func interfaceFile(path, mapName string) string { return filepath.Join(path, interfacePin(mapName)) }
func clusterFile(path, mapName string) string   { return filepath.Join(path, clusterPin(mapName)) }

// ensurePinDirectory makes path, which has to be in a bpffs.
func ensurePinDirectory(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("pin path %q: not absolute", path)
	}
	err := os.MkdirAll(path, 0o700)
	for range 3 {
		if !errors.Is(err, os.ErrNotExist) {
			break
		}
		err = os.MkdirAll(path, 0o700) // somebody removed a directory that was empty
	}
	if err != nil {
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

// pinMaps puts maps where the next agent finds them, replacing others; the order is that of
// names in a cluster's maps.
func pinMaps(opened map[string]*ebpf.Map, path string, pin func(string) string) error {
	names := slices.SortedFunc(maps.Keys(opened), func(a, b string) int {
		return slices.Index(clusterMaps[:], a) - slices.Index(clusterMaps[:], b)
	})
	for _, name := range names {
		m := opened[name]
		if m.IsPinned() {
			continue
		}
		file := filepath.Join(path, pin(name))
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unpin former map %s: %w", pin(name), err)
		}
		if err := m.Pin(file); err != nil {
			return fmt.Errorf("pin map %s: %w", pin(name), err)
		}
	}
	return nil
}

// pinnedClusters returns the names of all clusters under root, in order, also of those whose
// interface is gone.
func pinnedClusters(root string) ([]string, error) {
	entries, err := readDir(filepath.Join(root, clustersDir))
	var names []string
	for _, e := range entries {
		names = append(names, strings.ReplaceAll(e, "_", "."))
	}
	return names, err
}

// readDir returns no names where there is no directory.
func readDir(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pin path: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// pinnedInterfaces returns the indexes of the interfaces with pins under root.
func pinnedInterfaces(root string) ([]int, error) {
	entries, err := readDir(filepath.Join(root, interfacesDir))
	var indexes []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e); err == nil {
			indexes = append(indexes, n)
		}
	}
	return indexes, err
}

// removeGoneInterfaces removes the pins of interfaces that are no more.
func removeGoneInterfaces(root string) error {
	indexes, err := pinnedInterfaces(root)
	if err != nil {
		return err
	}
	for _, n := range indexes {
		_, err := netlink.LinkByIndex(n)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			err = removeInterface(interfacePath(root, n))
		}
		if err != nil {
			return fmt.Errorf("pins of interface %d: %w", n, err)
		}
	}
	return nil
}

// removeInterface detaches the programs of an interface and unpins all that is its own.
func removeInterface(path string) error {
	var errs []error
	for _, p := range places() {
		errs = append(errs, p.remove(path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up %s: %w", path, err)
	}
	return removeDir(path)
}

// removeDir removes a directory of pins, of which the names given go last, and the two above
// that are empty then.
func removeDir(path string, last ...string) error {
	names, err := readDir(path)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return slices.Contains(last, n) })
	for _, name := range append(names, last...) {
		if err := os.Remove(filepath.Join(path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up %s: %w", path, err)
		}
	}
	for _, dir := range []string{path, filepath.Dir(path), filepath.Dir(filepath.Dir(path))} {
		err := os.Remove(dir)
		if isInUse(err) && dir != path {
			return nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("clean up: %w", err)
		}
	}
	return nil
}

// isInUse tells of a directory that is not empty, or a mount point.
func isInUse(err error) bool { return errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EBUSY) }

func unpinCluster(path string) error { return removeDir(path, clusterPin(wlbsMapStates)) }

// CleanupCluster leaves nothing of a cluster, and nothing on its interface if no other cluster is
// there. It is for processes without an Interface: those that have one use Interface.RemoveCluster
// or Filter.Remove. It is idempotent.
func CleanupCluster(root, cluster string) error {
	path := clusterPath(root, cluster)
	r, err := readRecord(path)
	if err == nil && r != nil && r.ifindex != 0 {
		err = leaveInterface(root, cluster, r)
	}
	if err == nil {
		err = unpinCluster(path)
	}
	if err != nil {
		return fmt.Errorf("filter: clean up cluster %s: %w", cluster, err)
	}
	return nil
}

// leaveInterface takes a cluster off its interface, whoever has that open.
func leaveInterface(root, cluster string, r *record) error {
	path := interfacePath(root, int(r.ifindex))
	alone, sameMAC := true, false
	names, err := pinnedClusters(root)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == cluster {
			continue
		}
		other, err := readRecord(clusterPath(root, name))
		if err != nil {
			return err
		}
		if other != nil && other.ifindex == r.ifindex {
			alone = false
			sameMAC = sameMAC || other.mac == r.mac
		}
	}
	if alone {
		return removeInterface(path)
	}
	if r.layout != layout {
		return nil // the programs that serve it go when the others are replaced
	}
	if err := disconnectPinned(path, r.number); err != nil {
		return err
	}
	if sameMAC {
		return nil
	}
	return withPinned(interfaceFile(path, wlbsMapClusterMacs), func(m *ebpf.Map) error {
		if err := m.Delete(r.mac); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	})
}

// disconnectPinned frees the number of a cluster on an interface, whoever has that open.
func disconnectPinned(path string, number uint32) error {
	for _, name := range clusterMaps {
		if err := withPinned(interfaceFile(path, name),
			func(m *ebpf.Map) error { return deleteInner(m, number) }); err != nil {
			return err
		}
	}
	return nil
}

// withPinned does nothing where no map is pinned.
func withPinned(file string, do func(*ebpf.Map) error) error {
	m, err := ebpf.LoadPinnedMap(file, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(do(m), m.Close())
	}
	if err != nil {
		return fmt.Errorf("pinned map %s: %w", file, err)
	}
	return nil
}

// Cleanup detaches whatever programs are pinned under root, and unpins everything there. It is
// for processes without an Interface, and idempotent.
func Cleanup(root string) error {
	indexes, err := pinnedInterfaces(root)
	errs := []error{err}
	for _, n := range indexes {
		errs = append(errs, removeInterface(interfacePath(root, n)))
	}
	clusters, err := pinnedClusters(root)
	errs = append(errs, err)
	for _, name := range clusters {
		errs = append(errs, unpinCluster(clusterPath(root, name)))
	}
	for _, dir := range []string{interfacesDir, clustersDir, "."} {
		err := os.Remove(filepath.Join(root, dir))
		if errors.Is(err, os.ErrNotExist) || isInUse(err) {
			continue
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("filter: clean up %s: %w", root, err)
	}
	return nil
}
