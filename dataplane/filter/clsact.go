// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// clsactPriority puts our filters before those of others, who seldom take the first one;
// among equals the kernel asks the newest first.
const clsactPriority = 1

// clsactPlace is one side of an interface's clsact qdisc, where kernels before 6.6 run
// programs. There are no links: the kernel holds a program that a filter names, and the
// filter's own name tells whose it is. The pinned program marks that there is a filter.
type clsactPlace struct {
	pin    string
	parent uint32
}

func (c *clsactPlace) pinName() string { return c.pin }

// filterName is unique on the node, as the pin path is one cluster's.
func (c *clsactPlace) filterName(path string) string {
	return "kube-wlbs:" + filepath.Join(path, c.pin)
}

// install pins before it attaches, so that whatever is attached is found again.
func (c *clsactPlace) install(path string, ifindex int, p *ebpf.Program) error {
	handle, err := c.adopt(path, ifindex)
	if err != nil {
		return err
	}
	if err := replacePin(p, filepath.Join(path, c.pin)); err != nil {
		return fmt.Errorf("%s: %w", c.pin, err)
	}
	if err := addClsact(ifindex); err != nil {
		return fmt.Errorf("%s: %w", c.pin, err)
	}
	err = netlink.FilterReplace(&netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: c.parent, Handle: handle, Priority: clsactPriority, Protocol: unix.ETH_P_ALL,
		},
		Fd:           p.FD(),
		Name:         c.filterName(path),
		DirectAction: true,
	})
	if err != nil {
		return fmt.Errorf("%s: attach: %w", c.pin, err)
	}
	return nil
}

// adopt returns the handle of the filter on the interface, 0 if there is none, and removes
// those on other interfaces.
func (c *clsactPlace) adopt(path string, ifindex int) (uint32, error) {
	found, err := c.find(path)
	if err != nil {
		return 0, err
	}
	var handle uint32
	for _, f := range found {
		if f.LinkIndex == ifindex {
			handle = f.Handle
		} else if err := removeClsactFilter(f); err != nil {
			return 0, fmt.Errorf("%s: %w", c.pin, err)
		}
	}
	return handle, nil
}

func (c *clsactPlace) stands(path string, ifindex int) (bool, error) {
	found, err := c.find(path)
	return slices.ContainsFunc(found, func(f *netlink.BpfFilter) bool { return f.LinkIndex == ifindex }), err
}

func (c *clsactPlace) remove(path string) error {
	found, err := c.find(path)
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := removeClsactFilter(f); err != nil {
			return fmt.Errorf("%s: %w", c.pin, err)
		}
	}
	if err := os.Remove(filepath.Join(path, c.pin)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: unpin: %w", c.pin, err)
	}
	return nil
}

// find returns the filters of this place under path, on whatever interfaces they are.
func (c *clsactPlace) find(path string) ([]*netlink.BpfFilter, error) {
	if _, err := os.Stat(filepath.Join(path, c.pin)); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("%s: list interfaces: %w", c.pin, err)
	}
	var found []*netlink.BpfFilter
	for _, l := range links {
		filters, err := clsactFilters(l, c.parent)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.pin, err)
		}
		for _, f := range filters {
			if b, ok := f.(*netlink.BpfFilter); ok && b.Name == c.filterName(path) {
				found = append(found, b)
			}
		}
	}
	return found, nil
}

// clsactFilters returns none for an interface without the qdisc, or that is gone.
func clsactFilters(l netlink.Link, parent uint32) ([]netlink.Filter, error) {
	filters, err := netlink.FilterList(l, parent)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list filters of %s: %w", l.Attrs().Name, err)
	}
	return filters, nil
}

func clsactOf(ifindex int) *netlink.Clsact {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT,
	}}
}

// addClsact gives the interface the qdisc, unless it has it.
func addClsact(ifindex int) error {
	err := netlink.QdiscAdd(clsactOf(ifindex))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact: %w", err)
	}
	return nil
}

// removeClsactFilter also removes the qdisc that nobody uses any more.
func removeClsactFilter(f *netlink.BpfFilter) error {
	if err := netlink.FilterDel(f); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("detach: %w", err)
	}
	l, err := netlink.LinkByIndex(f.LinkIndex)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("interface %d: %w", f.LinkIndex, err)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		others, err := clsactFilters(l, parent)
		if err != nil || len(others) > 0 {
			return err
		}
	}
	if err := netlink.QdiscDel(clsactOf(f.LinkIndex)); err != nil && !errors.Is(err, unix.ENOENT) &&
		!errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("remove clsact: %w", err)
	}
	return nil
}

// replacePin pins p as file in one step, whatever was pinned there.
func replacePin(p *ebpf.Program, file string) error {
	next := file + "_next"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("pin: %w", err)
	}
	// p itself would take note of a path that does not last.
	q, err := p.Clone()
	if err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	defer func() { _ = q.Close() }()
	if err := q.Pin(next); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	if err := os.Rename(next, file); err != nil {
		return fmt.Errorf("pin: %w", err)
	}
	return nil
}
