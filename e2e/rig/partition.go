// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// farBridge is the other switch of a network that is partitioned.
const farBridge = "br1"

// Partition moves the cables of some hosts to a switch of their own. Nobody loses a carrier, but those hosts hear
// neither the others nor the clients any more. Heal ends it.
func (r *Rig) Partition(hosts ...*Host) error {
	return r.Bridge.Do(func() error {
		if err := addBridge(farBridge); err != nil {
			return err
		}
		return move(hosts, farBridge)
	})
}

// Heal ends Partition.
func (r *Rig) Heal() error {
	return r.Bridge.Do(func() error {
		if err := move(r.Hosts, bridge); err != nil {
			return err
		}
		far, err := netlink.LinkByName(farBridge)
		if err != nil {
			return fmt.Errorf("find %s: %w", farBridge, err)
		}
		return netlink.LinkDel(far)
	})
}

func move(hosts []*Host, to string) error {
	master, err := netlink.LinkByName(to)
	if err != nil {
		return fmt.Errorf("find %s: %w", to, err)
	}
	var errs []error
	for _, h := range hosts {
		port, err := netlink.LinkByName(h.Port)
		if err == nil {
			err = netlink.LinkSetMasterByIndex(port, master.Attrs().Index)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("move %s to %s: %w", h.Port, to, err))
		}
	}
	return errors.Join(errs...)
}
