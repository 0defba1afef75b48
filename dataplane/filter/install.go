// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// load loads the programs; withFilter makes wlbs_ingress decide, where no XDP program does.
func (i *Interface) load(withFilter bool) error {
	spec, err := loadWlbs()
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
	prepare(spec)
	var objects wlbsObjects
	if err := spec.LoadAndAssign(&objects, &ebpf.CollectionOptions{MapReplacements: i.maps}); err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	i.programs.Lock() // a renewal of a lease uses one of the programs
	defer i.programs.Unlock()
	_ = i.objects.Close()
	i.objects = objects
	return nil
}

// installPending replaces programs that use maps of another layout, once no cluster depends on
// them any more.
func (i *Interface) installPending() error {
	if !i.pending {
		return nil
	}
	if err := i.refresh(); err != nil {
		return err
	}
	for _, m := range i.members {
		if m.foreign {
			return nil
		}
	}
	if err := i.install(); err != nil {
		return fmt.Errorf("replace programs: %w", err)
	}
	i.pending = false
	return nil
}

// install attaches the programs, or replaces those attached. At every moment at least one
// program filters, if one did before.
func (i *Interface) install() error {
	i.hook = i.config.Hook
	if i.config.unattached {
		return errors.Join(i.load(i.hook != XDP), pinMaps(i.maps, i.path, interfacePin))
	}
	if i.hook == Auto || i.hook == XDP {
		if err := i.installXDP(); err != nil {
			if i.config.Hook == XDP {
				return err
			}
			i.config.Log.Info("No native XDP on this interface, using traffic control", "cause", err.Error())
			i.hook = TCX
		}
	}
	if i.hook != XDP {
		if err := i.load(true); err != nil {
			return err
		}
	}
	if err := i.installTrafficControl(); err != nil {
		return err
	}
	if i.hook != XDP {
		if err := xdpPlace().remove(i.path); err != nil {
			return err
		}
	}
	return pinMaps(i.maps, i.path, interfacePin)
}

func (i *Interface) installXDP() error {
	if err := i.load(false); err != nil {
		return err
	}
	if err := xdpPlace().install(i.path, i.config.Ifindex, i.objects.WlbsXdp); err != nil {
		return err
	}
	i.hook = XDP
	return nil
}

// retryXDP moves from traffic control to XDP if the slot is free by now, and else changes
// nothing that is attached.
func (i *Interface) retryXDP() error {
	stands := i.hook
	if err := i.installXDP(); err != nil {
		i.config.Log.Debug("Still no native XDP on this interface", "cause", err.Error())
		return nil
	}
	if err := i.installTrafficControl(); err != nil {
		i.hook = stands // it filters too, until the next attempt
		return fmt.Errorf("filter: interface %d: move to XDP: %w", i.config.Ifindex, err)
	}
	return nil
}

// installTrafficControl takes TCX, or clsact where that is asked for or all there is.
func (i *Interface) installTrafficControl() error {
	tcx, clsact := tcxPlaces(), clsactPlaces()
	if i.config.Hook != Clsact {
		err := errWithoutTCX
		if !i.config.withoutTCX {
			err = i.installAt(&tcx)
		}
		if err == nil {
			return clsact.remove(i.path)
		}
		if i.config.Hook == TCX || !errors.Is(err, ebpf.ErrNotSupported) {
			return err
		}
		i.config.Log.Info("No TCX in this kernel, using clsact", "cause", err.Error())
	}
	if i.hook == TCX {
		i.hook = Clsact
	}
	if err := i.installAt(&clsact); err != nil {
		return err
	}
	return tcx.remove(i.path)
}

func (i *Interface) installAt(t *trafficControl) error {
	if err := t.ingress.install(i.path, i.config.Ifindex, i.objects.WlbsIngress); err != nil {
		return err
	}
	if err := t.egress.install(i.path, i.config.Ifindex, i.objects.WlbsEgress); err != nil {
		return err
	}
	i.control = t
	return nil
}

// Check says which of the programs is not attached any more: pins, links and qdiscs are within reach of others. No
// frame for a virtual IP gets through then. OpenInterface attaches them again.
func (i *Interface) Check() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.control == nil { // none attached, or those of another layout
		return nil
	}
	places := []place{i.control.ingress, i.control.egress}
	if i.hook == XDP {
		places = append(places, xdpPlace())
	}
	for _, p := range places {
		stands, err := p.stands(i.path, i.config.Ifindex)
		if err == nil && !stands {
			err = fmt.Errorf("%s is not attached any more: somebody removed it, or its pin below %s", p.pinName(), i.path)
		}
		if err != nil {
			return fmt.Errorf("filter: interface %d: %w", i.config.Ifindex, err)
		}
	}
	return nil
}
