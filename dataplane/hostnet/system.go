// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// system is the kernel that runs.
type system struct{}

func (system) add(ctx context.Context, things []thing) ([]thing, error) {
	iface, err := current(things[0].ifindex)
	if err != nil {
		return nil, each(things, func(t thing) error { return fmt.Errorf("%s: %w", t, err) })
	}
	switch things[0].kind {
	case macFilter:
		return addMACFilters(iface, things)
	case group:
		return nil, each(things, func(t thing) error { return addGroup(iface, t.addr) })
	case solicitedNode:
		return nil, joinSolicitedNodes(iface, addrs(things))
	default:
		return nil, addVIPs(ctx, addrs(things))
	}
}

func (system) remove(ctx context.Context, things []thing) error {
	iface, err := current(things[0].ifindex)
	if errors.Is(err, ErrNoInterface) {
		return nil // and all that was on it
	}
	if err != nil {
		return err
	}
	switch things[0].kind {
	case macFilter:
		return each(things, func(t thing) error { return removeMACFilter(iface, t.mac[:]) })
	case group:
		return each(things, func(t thing) error { return removeGroup(iface, t.addr) })
	case solicitedNode:
		return leaveSolicitedNodes(iface, addrs(things))
	default:
		return RemoveVIPs(ctx, addrs(things))
	}
}

// current returns the interface of an index by the name it has now.
func current(ifindex int) (Interface, error) {
	if ifindex == 0 {
		return Interface{}, nil
	}
	link, err := netlink.LinkByIndex(ifindex)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return Interface{}, fmt.Errorf("%w: index %d", ErrNoInterface, ifindex)
	}
	if err != nil {
		return Interface{}, fmt.Errorf("find interface %d: %w", ifindex, err)
	}
	return Interface{Index: ifindex, Name: link.Attrs().Name}, nil
}

// addMACFilters returns those that were missing.
func addMACFilters(iface Interface, things []thing) ([]thing, error) {
	var added []thing
	err := each(things, func(t thing) error {
		missing, err := addMACFilter(iface, t.mac[:])
		if missing && err == nil {
			added = append(added, t)
		}
		return err
	})
	return added, err
}

func each(things []thing, do func(thing) error) error {
	var errs []error
	for _, t := range things {
		errs = append(errs, do(t))
	}
	return errors.Join(errs...)
}

func addrs(things []thing) []netip.Addr {
	var out []netip.Addr
	for _, t := range things {
		out = append(out, t.addr)
	}
	return out
}
