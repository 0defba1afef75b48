// SPDX-License-Identifier: Apache-2.0

// Package filter is the data path: it lets in those frames for the virtual IPs whose
// clients are this host's, tracks their TCP connections, and sees to it that neither a
// switch nor a neighbour learns a MAC that would lead all traffic to one host.
//
// The programs are in bpf/, and docs/filter.md describes them. Programs run, maps and links
// are pinned, without the process that opened them.
package filter

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// DefaultMaxConnections is the size of the connection table where none is given:
// MaxConnectionDescriptors of NLB.
const DefaultMaxConnections = 262144

// Config says what to filter, and where.
type Config struct {
	Ifindex int
	// PinPath is a directory of its own in a bpffs, one per cluster.
	PinPath string
	Hook    Hook
	// MaxConnections is how many TCP connections are tracked; 0 is DefaultMaxConnections.
	// Those beyond are served untracked. An entry takes about 100 bytes, when in use.
	MaxConnections uint32
	// ClusterMAC is what ARP and ND tell for virtual IPs, HostMAC the interface's own address.
	ClusterMAC, HostMAC net.HardwareAddr
	Timeouts            Timeouts
	// Log takes what an operator should know about choices made here; nil is nowhere.
	Log *slog.Logger

	withoutTCX bool   // as on a kernel that has none
	maxClients uint32 // 0 is the size of the map in bpf/maps.h
}

func (c *Config) validate() error {
	var errs []error
	if c.Ifindex <= 0 {
		errs = append(errs, fmt.Errorf("interface index %d", c.Ifindex))
	}
	if len(c.ClusterMAC) != 6 {
		errs = append(errs, fmt.Errorf("cluster MAC %q: not 6 octets", c.ClusterMAC))
	}
	if len(c.HostMAC) != 6 {
		errs = append(errs, fmt.Errorf("host MAC %q: not 6 octets", c.HostMAC))
	}
	if c.Hook > Clsact {
		errs = append(errs, fmt.Errorf("no hook %d", c.Hook))
	}
	return errors.Join(errs...)
}

// Filter is an attached filter. Its methods may be called from several goroutines.
type Filter struct {
	config   Config
	timeouts Timeouts
	objects  wlbsObjects
	maps     *openedMaps
	state    *state
	hook     Hook
	pending  bool // attached programs still use maps of another layout

	leasing  sync.Mutex // orders renewals, and guards objects
	sweeping sync.Mutex // one sweep at a time; taken before mu
	mu       sync.Mutex
	compiled *compiled // in force; nil before the first Apply
	applied  time.Duration
	held     bucket.Table
}

// Open attaches the filter to the interface. Where one is pinned under PinPath, it takes
// over its maps and replaces its programs in place: no packet and no tracked connection is
// lost, and the policy in force stays in force. Without one, all frames pass until Apply.
//
// Pinned maps of another layout are replaced by the first Apply, until when the programs
// that use them go on.
func Open(config Config) (*Filter, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.MaxConnections == 0 {
		config.MaxConnections = DefaultMaxConnections
	}
	if err := config.validate(); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	if err := ensurePinDirectory(config.PinPath); err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	before, err := isAttached(config.PinPath)
	if err != nil {
		return nil, fmt.Errorf("filter: %w", err)
	}
	f := &Filter{config: config, timeouts: config.Timeouts.withDefaults()}
	for i := range f.held {
		f.held[i] = bucket.All // whatever is pinned may hold connections of any bucket
	}
	if err := f.open(before); err != nil {
		_ = f.Close()
		if !before {
			_ = Cleanup(config.PinPath) // half a filter is worse than none
		}
		return nil, fmt.Errorf("filter: %w", err)
	}
	return f, nil
}

func (f *Filter) open(attached bool) error {
	spec, err := f.spec()
	if err != nil {
		return err
	}
	if f.maps, err = openMaps(spec, f.config.PinPath); err != nil {
		return err
	}
	if f.state, err = mapState(f.maps.byName[stateSection]); err != nil {
		return err
	}
	f.state.shared.Layout = layout
	if err := f.maps.copyResized(); err != nil {
		return err
	}
	if attached && !f.maps.adopted {
		f.config.Log.Warn("Pinned maps have another layout: tracked connections are lost at the next epoch", "path", f.config.PinPath)
		f.pending = true
		if f.hook, err = attachedHook(f.config.PinPath); err != nil {
			return err
		}
		return f.load(f.hook != XDP)
	}
	return f.install()
}

func (f *Filter) spec() (*ebpf.CollectionSpec, error) {
	spec, err := loadWlbs()
	if err != nil {
		return nil, err
	}
	spec.Maps[wlbsMapConnections].MaxEntries = f.config.MaxConnections
	if f.config.maxClients != 0 {
		spec.Maps[wlbsMapClients].MaxEntries = f.config.maxClients
	}
	for name, mac := range map[string]net.HardwareAddr{
		wlbsVarClusterMac: f.config.ClusterMAC,
		wlbsVarHostMac:    f.config.HostMAC,
	} {
		if err := spec.Variables[name].Set([6]byte(mac)); err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
	}
	return spec, nil
}

// load loads the programs; withFilter makes wlbs_ingress decide, where no XDP program does.
func (f *Filter) load(withFilter bool) error {
	spec, err := f.spec()
	if err != nil {
		return err
	}
	if !haveXDPFrags() {
		spec.Programs["wlbs_xdp"].Flags &^= unix.BPF_F_XDP_HAS_FRAGS
	}
	if withFilter {
		if err := spec.Variables[wlbsVarFilterAtIngress].Set(uint8(1)); err != nil {
			return fmt.Errorf("variable %s: %w", wlbsVarFilterAtIngress, err)
		}
	}
	f.leasing.Lock() // a renewal uses one of the programs
	defer f.leasing.Unlock()
	_ = f.objects.Close()
	f.objects = wlbsObjects{}
	options := &ebpf.CollectionOptions{MapReplacements: f.maps.byName}
	if err := spec.LoadAndAssign(&f.objects, options); err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	return nil
}

// install attaches the programs, or replaces those attached. At every moment at least one
// program filters, if one did before.
func (f *Filter) install() error {
	f.hook = f.config.Hook
	if f.hook == Auto || f.hook == XDP {
		if err := f.installXDP(); err != nil {
			if f.config.Hook == XDP {
				return err
			}
			f.config.Log.Info("No native XDP on this interface, using traffic control", "cause", err.Error())
			f.hook = TCX
		}
	}
	if f.hook != XDP {
		if err := f.load(true); err != nil {
			return err
		}
	}
	if err := f.installTrafficControl(); err != nil {
		return err
	}
	if f.hook != XDP {
		if err := xdpPlace().remove(f.config.PinPath); err != nil {
			return err
		}
	}
	if err := f.maps.copyResized(); err != nil {
		return err
	}
	return f.maps.pin(f.config.PinPath)
}

func (f *Filter) installXDP() error {
	if err := f.load(false); err != nil {
		return err
	}
	if err := xdpPlace().install(f.config.PinPath, f.config.Ifindex, f.objects.WlbsXdp); err != nil {
		return err
	}
	f.hook = XDP
	return nil
}

// installTrafficControl takes TCX, or clsact where that is asked for or all there is.
func (f *Filter) installTrafficControl() error {
	tcx, clsact := tcxPlaces(), clsactPlaces()
	if f.config.Hook != Clsact {
		err := errWithoutTCX
		if !f.config.withoutTCX {
			err = f.installAt(&tcx)
		}
		if err == nil {
			return clsact.remove(f.config.PinPath)
		}
		if f.config.Hook == TCX || !errors.Is(err, ebpf.ErrNotSupported) {
			return err
		}
		f.config.Log.Info("No TCX in this kernel, using clsact", "cause", err.Error())
	}
	if f.hook == TCX {
		f.hook = Clsact
	}
	if err := f.installAt(&clsact); err != nil {
		return err
	}
	return tcx.remove(f.config.PinPath)
}

func (f *Filter) installAt(t *trafficControl) error {
	if err := t.ingress.install(f.config.PinPath, f.config.Ifindex, f.objects.WlbsIngress); err != nil {
		return err
	}
	return t.egress.install(f.config.PinPath, f.config.Ifindex, f.objects.WlbsEgress)
}

// Hook returns XDP, TCX or Clsact: where the filter stands.
func (f *Filter) Hook() Hook {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hook
}

// Close lets go of the filter, which goes on as it is.
func (f *Filter) Close() error {
	errs := []error{f.objects.Close()}
	if f.state != nil {
		errs = append(errs, f.state.close())
	}
	if f.maps != nil {
		f.maps.close()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("filter: close: %w", err)
	}
	return nil
}

// Remove detaches the filter and leaves nothing of it. From then on the kernel sees all
// frames: take the virtual IPs off the host before.
func (f *Filter) Remove() error {
	return errors.Join(f.Close(), Cleanup(f.config.PinPath))
}
