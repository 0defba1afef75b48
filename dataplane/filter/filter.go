// SPDX-License-Identifier: Apache-2.0

// Package filter is the data path: it lets in those frames for the virtual IPs whose
// clients are this host's, tracks their TCP connections, and sees to it that neither a
// switch nor a neighbour learns a MAC that would lead all traffic to one host.
//
// An Interface has the programs of a network interface, which serve all clusters on it; a
// Filter is one cluster's part. The programs are in bpf/, and docs/filter.md describes them.
// Programs run, maps and links are pinned, without the process that opened them.
//
//   - interface.go, install.go, members.go, composed.go: an Interface, its clusters, and the
//     table of their virtual IPs
//   - attach.go, clsact.go: the hooks
//   - filter.go, table.go, compile.go, apply.go: a Filter, and how it switches from one Table to
//     the next
//   - lease.go: until when packets are accepted
//   - connections.go, clients.go, counters.go: what is tracked, kept by extended affinity, counted
//   - maps.go, pins.go, state.go: maps, what survives the agent, memory shared with the programs
package filter

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// DefaultMaxConnections is the size of the connection table where none is given:
// MaxConnectionDescriptors of NLB.
const DefaultMaxConnections = 262144

// Config says what an Interface has to know of one cluster.
type Config struct {
	// Cluster is its name, a DNS name, unique on the node.
	Cluster string
	// ClusterMAC is what ARP and ND tell for its virtual IPs.
	ClusterMAC net.HardwareAddr
	// MaxConnections is how many TCP connections are tracked; 0 is DefaultMaxConnections.
	// Those beyond are served untracked. An entry takes about 100 bytes, when in use.
	MaxConnections uint32
	Timeouts       Timeouts

	maxClients uint32 // 0 is the size of the map in bpf/maps.h
}

func (c *Config) validate() error {
	var errs []error
	if !clusterName.MatchString(c.Cluster) {
		errs = append(errs, fmt.Errorf("name %q: not a DNS name", c.Cluster))
	}
	if len(c.ClusterMAC) != 6 {
		errs = append(errs, fmt.Errorf("cluster MAC %q: not 6 octets", c.ClusterMAC))
	}
	return errors.Join(errs...)
}

// Filter is one cluster's part of an Interface. Nothing that it does changes how another
// cluster's packets fare. Its methods may be called from several goroutines.
type Filter struct {
	iface    *Interface
	member   *member
	config   Config
	timeouts Timeouts
	maps     *openedMaps
	state    *shared[wlbsState]
	closed   bool // guarded by the Interface's mu

	leasing  sync.Mutex // orders renewals
	sweeping sync.Mutex // one sweep at a time; taken before mu
	mu       sync.Mutex
	compiled *compiled // in force; nil before the first Apply
	applied  time.Duration
	held     bucket.Table
}

// Open opens one cluster's part of the interface. Where it is pinned, on this interface or on
// another one, its maps are taken over: no tracked connection is lost, and the policy in force
// stays in force. A cluster that is new lets all frames pass until Apply.
func (i *Interface) Open(config Config) (*Filter, error) {
	if config.MaxConnections == 0 {
		config.MaxConnections = DefaultMaxConnections
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("filter: cluster %s: %w", config.Cluster, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	f, err := i.openCluster(config)
	if err != nil {
		return nil, fmt.Errorf("filter: cluster %s: %w", config.Cluster, err)
	}
	return f, nil
}

func (i *Interface) openCluster(config Config) (*Filter, error) {
	m, known := i.members[config.Cluster]
	switch {
	case !known:
		m = &member{name: config.Cluster}
	case m.open:
		return nil, errors.New("is open already")
	}
	pinned, err := readRecord(clusterPath(i.config.Root, config.Cluster))
	if err != nil {
		return nil, err
	}
	f := &Filter{iface: i, member: m, config: config, timeouts: config.Timeouts.withDefaults()}
	for slot := range f.held {
		f.held[slot] = bucket.All // whatever is pinned may hold connections of any bucket
	}
	before := *m
	if err = f.openMaps(); err == nil {
		err = f.join()
	}
	if err == nil {
		return f, nil
	}
	_ = f.closeMaps()
	if pinned != nil {
		return nil, errors.Join(err, i.restore(m, before, known))
	}
	m.open = false
	return nil, errors.Join(err, i.forget(m)) // half of a cluster is worse than none
}

// openMaps opens the cluster's maps, pinned ones where there are any.
func (f *Filter) openMaps() (err error) {
	path := clusterPath(f.iface.config.Root, f.config.Cluster)
	if err := ensurePinDirectory(path); err != nil {
		return err
	}
	specs := resize(f.iface.clusterMaps, wlbsMapConnections, f.config.MaxConnections)
	specs = resize(specs, wlbsMapClients, f.config.maxClients)
	if f.maps, err = openClusterMaps(specs, path); err != nil {
		return err
	}
	f.state, err = mapShared[wlbsState](f.maps.byName[wlbsMapStates])
	return err
}

// join makes the cluster a member of its interface.
func (f *Filter) join() (err error) {
	i, m := f.iface, f.member
	h := &f.state.value.Header
	if m.number == 0 {
		if m.number, err = i.freeNumber(); err != nil {
			return err
		}
	}
	if err := f.leaveFormerInterface(); err != nil {
		return err
	}
	m.mac, m.open = macWord(f.config.ClusterMAC), true
	m.vips = i.unclaimed(m, f.state.value.vips())
	h.Layout, h.Cluster, h.Ifindex = layout, m.number, uint32(i.config.Ifindex)
	atomic.StoreUint64(&h.ClusterMac, m.mac)
	i.members[m.name] = m

	if err := errors.Join(f.maps.copyResized(), i.syncMACs(), i.putMaps(m.number, f.maps.byName)); err != nil {
		return err
	}
	if err := f.maps.copyResized(); err != nil { // what came between
		return err
	}
	if !m.foreign { // else its pins tell that the programs attached serve it by other maps
		if err := f.pin(); err != nil {
			return err
		}
	}
	return i.recompose()
}

// leaveFormerInterface disconnects a cluster that was pinned on another interface.
func (f *Filter) leaveFormerInterface() error {
	h := &f.state.value.Header
	if !f.maps.adopted || h.Ifindex == 0 || h.Ifindex == uint32(f.iface.config.Ifindex) {
		return nil
	}
	return disconnectPinned(interfacePath(f.iface.config.Root, int(h.Ifindex)), h.Cluster)
}

func (f *Filter) pin() error {
	return pinMaps(f.maps.byName, clusterPath(f.iface.config.Root, f.config.Cluster), clusterPin)
}

// replacePins pins maps that take the place of those of another layout, and replaces the
// programs that use these as soon as no cluster depends on them.
func (f *Filter) replacePins() error {
	f.iface.mu.Lock()
	defer f.iface.mu.Unlock()
	if f.member.foreign {
		if err := f.pin(); err != nil {
			return err
		}
		f.member.foreign = false
	}
	return f.iface.installPending()
}

// Close lets go of the cluster, which goes on as it is.
func (f *Filter) Close() error {
	f.iface.mu.Lock()
	defer f.iface.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed, f.member.open = true, false
	if f.member.foreign {
		f.member.number = 0 // nothing of this attempt is pinned
	}
	if err := f.closeMaps(); err != nil {
		return fmt.Errorf("filter: cluster %s: close: %w", f.config.Cluster, err)
	}
	return nil
}

func (f *Filter) closeMaps() error {
	if f.maps != nil {
		f.maps.close()
	}
	if f.state == nil {
		return nil
	}
	return f.state.close()
}

// Remove takes the cluster off the interface and leaves nothing of it. From then on the kernel
// sees all frames for its virtual IPs: take them off the host before.
func (f *Filter) Remove() error {
	err := f.Close()
	f.iface.mu.Lock()
	defer f.iface.mu.Unlock()
	if f.iface.members[f.member.name] != f.member || f.member.open {
		return err // removed already, or opened again
	}
	return errors.Join(err, f.iface.removeClosed(f.member.name))
}
