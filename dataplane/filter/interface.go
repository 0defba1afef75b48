// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
)

// InterfaceConfig says on which network interface to filter, and how.
type InterfaceConfig struct {
	Ifindex int
	// Root is a directory in a bpffs, the same for all interfaces and clusters of a node.
	Root string
	Hook Hook
	// HostMAC is the interface's own address.
	HostMAC net.HardwareAddr
	// Log takes what an operator should know about choices made here; nil is nowhere.
	Log *slog.Logger

	withoutTCX bool // as on a kernel that has none
	unattached bool // programs are loaded, and run by hand
}

func (c *InterfaceConfig) validate() error {
	var errs []error
	if c.Ifindex <= 0 {
		errs = append(errs, fmt.Errorf("interface index %d", c.Ifindex))
	}
	if len(c.HostMAC) != 6 {
		errs = append(errs, fmt.Errorf("host MAC %q: not 6 octets", c.HostMAC))
	}
	if c.Hook > Clsact {
		errs = append(errs, fmt.Errorf("no hook %d", c.Hook))
	}
	return errors.Join(errs...)
}

// Interface is the filter of a network interface: its programs, and what the clusters on it
// share. Its methods may be called from several goroutines.
type Interface struct {
	config  InterfaceConfig
	path    string // of its pins
	maps    map[string]*ebpf.Map
	globals *shared[wlbsInterfaceState]
	// clusterMaps are the specs of the maps that each cluster has its own of.
	clusterMaps map[string]*ebpf.MapSpec

	programs sync.RWMutex // guards objects
	objects  wlbsObjects

	mu      sync.Mutex // guards what follows; taken after a Filter's locks
	hook    Hook
	control *trafficControl    // what this process attached programs by
	pending bool               // attached programs still use maps of another layout
	members map[string]*member // by name of the cluster
	flipped time.Duration      // when the table of virtual IPs changed last
}

// OpenInterface attaches the filter to a network interface. Where one is pinned under Root, it
// takes over its maps and replaces its programs in place: no packet is lost, and every cluster
// that is pinned goes on as it is, opened or not. Frames for an address that no cluster has as a
// virtual IP pass.
//
// Pins of interfaces that are gone are removed; those of clusters that were on them stay, for
// Open on another interface. Programs that use maps of another layout go on until each cluster
// that they serve has had its first Apply, or was removed.
func OpenInterface(config InterfaceConfig) (*Interface, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	i := &Interface{config: config, path: interfacePath(config.Root, config.Ifindex), members: map[string]*member{}}
	if err := ensurePinDirectory(i.path); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	before, err := isAttached(i.path)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if err := i.open(before); err != nil {
		_ = i.Close()
		if !before {
			_ = removeInterface(i.path) // half a filter is worse than none
		}
		return nil, fmt.Errorf("filter: interface %d: %w", config.Ifindex, err)
	}
	return i, nil
}

func (i *Interface) open(attached bool) error {
	if err := removeGoneInterfaces(i.config.Root); err != nil {
		return err
	}
	spec, err := loadWlbs()
	if err != nil {
		return err
	}
	i.clusterMaps = clusterSpecs(spec)
	var adopted bool
	if i.maps, adopted, err = openInterfaceMaps(spec, i.path); err != nil {
		return err
	}
	if i.globals, err = mapShared[wlbsInterfaceState](i.maps[globalsSection]); err != nil {
		return err
	}
	i.globals.value.Layout = layout
	atomic.StoreUint64(&i.globals.value.HostMac, macWord(i.config.HostMAC))
	if err := i.readMembers(); err != nil {
		return err
	}
	if attached && !adopted {
		i.config.Log.Warn("Pinned maps have another layout: tracked connections are lost at the next epoch", "path", i.path)
		i.pending = true
		if i.hook, err = attachedHook(i.path); err != nil {
			return err
		}
		if err := i.load(i.hook != XDP); err != nil {
			return err
		}
		return i.installPending()
	}
	return i.install()
}

// Hook returns XDP, TCX or Clsact: where the filter stands.
func (i *Interface) Hook() Hook {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hook
}

// SetHook moves the filter in place: no packet is lost and none passes unfiltered. On an error
// it stays where it is. Auto takes native XDP if its slot has become free since, so call it
// again where another owner's program may have left.
func (i *Interface) SetHook(hook Hook) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	before := i.config.Hook
	switch {
	case hook > Clsact:
		return fmt.Errorf("filter: interface %d: no hook %d", i.config.Ifindex, hook)
	case hook == before && (hook != Auto || i.hook == XDP):
		return nil
	case i.pending:
		i.config.Hook = hook
		return nil
	case hook == before:
		return i.retryXDP()
	}
	stands := i.hook
	i.config.Hook = hook
	if err := i.install(); err != nil {
		i.config.Hook, i.hook = before, stands
		return fmt.Errorf("filter: interface %d: move to %s: %w", i.config.Ifindex, hook, err)
	}
	return nil
}

// InterfaceCounters are totals since the maps were made; they survive the agent.
type InterfaceCounters struct {
	Heartbeats uint64
	// HeartbeatSeen is when the last heartbeat frame came in, in CLOCK_MONOTONIC; 0 is never.
	HeartbeatSeen time.Duration
	// SourceBlocked are frames dropped on the way out: a cluster MAC as Ethernet source.
	SourceBlocked uint64
}

// Counters reads what is counted for no cluster.
func (i *Interface) Counters() (InterfaceCounters, error) {
	var perCPU []wlbsInterfaceCounters
	if err := i.maps[wlbsMapInterfaceCounts].Lookup(uint32(0), &perCPU); err != nil {
		return InterfaceCounters{}, fmt.Errorf("filter: map %s: %w", wlbsMapInterfaceCounts, err)
	}
	var sum InterfaceCounters
	for n := range perCPU {
		sum.Heartbeats += perCPU[n].Heartbeats
		sum.HeartbeatSeen = max(sum.HeartbeatSeen, time.Duration(perCPU[n].HeartbeatSeen))
		sum.SourceBlocked += perCPU[n].SourceBlocked
	}
	return sum, nil
}

// Clusters returns the names of the clusters that are pinned on the interface, opened or not,
// in order.
func (i *Interface) Clusters() ([]string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := i.refresh(); err != nil {
		return nil, fmt.Errorf("filter: interface %d: %w", i.config.Ifindex, err)
	}
	return slices.Sorted(maps.Keys(i.members)), nil
}

// Close lets go of the interface, which goes on as it is. Close its Filters before.
func (i *Interface) Close() error {
	i.programs.Lock()
	errs := []error{i.objects.Close()}
	i.programs.Unlock()
	if i.globals != nil {
		errs = append(errs, i.globals.close())
	}
	for _, m := range i.maps {
		errs = append(errs, m.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("filter: close interface %d: %w", i.config.Ifindex, err)
	}
	return nil
}

// Remove detaches the filter and leaves nothing of it. While a cluster is on the interface,
// opened or not, it is an error.
func (i *Interface) Remove() error {
	clusters, err := i.Clusters()
	if err != nil {
		return err
	}
	if len(clusters) > 0 {
		return fmt.Errorf("filter: interface %d still serves clusters: %s", i.config.Ifindex, strings.Join(clusters, ", "))
	}
	return errors.Join(i.Close(), removeInterface(i.path))
}
