// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/vishvananda/netlink"
)

// Cards are network cards of this machine that a rig gives to its client and hosts, instead of cables to a bridge. All
// of them are on one segment. What a rig does to cables and sees at the bridge is then not to be had.
type Cards struct {
	// MACs are the permanent addresses of the cards: those of the client, then those of host 1, and so on.
	MACs [][]net.HardwareAddr
	// MTU of the cards and of the interface made of them; 0 leaves it as it is.
	MTU int
	// Assemble makes eth0 of the cards in a namespace, which are nic0, nic1 and so on, and up. Nil renames nic0.
	Assemble func(n *Namespace, id int) error
}

// cardName is what a card is called in its namespace.
func cardName(i int) string { return fmt.Sprintf("nic%d", i) }

// insert puts the cards of the client (0) or a host into its namespace, and makes eth0 of them.
func (c *Cards) insert(n *Namespace, id int) error {
	if id >= len(c.MACs) {
		return fmt.Errorf("cards for %d, none for number %d", len(c.MACs), id)
	}
	for i, mac := range c.MACs[id] {
		if err := c.move(n, mac, cardName(i)); err != nil {
			return fmt.Errorf("card %s: %w", mac, err)
		}
	}
	assemble := c.Assemble
	if assemble == nil {
		assemble = func(n *Namespace, _ int) error {
			return n.Commands("ip link set nic0 down", "ip link set nic0 name eth0")
		}
	}
	if err := assemble(n, id); err != nil {
		return fmt.Errorf("make %s of cards: %w", hostInterface, err)
	}
	return n.Do(func() error { return errors.Join(c.setMTU(hostInterface), linkUp(hostInterface)()) })
}

// move takes a card from the namespace of the process, waiting until an earlier rig has given it back.
func (c *Cards) move(n *Namespace, mac net.HardwareAddr, name string) error {
	const waitLimit = 20 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
	defer cancel()
	var card netlink.Link
	err := poll(ctx, func() (err error) {
		card, err = cardOf(mac)
		return err
	})
	if err != nil {
		return err
	}
	target, err := namespaceHandle(n.Name)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	index := card.Attrs().Index
	if err := errors.Join(netlink.LinkSetDown(card), netlink.LinkSetNsFd(card, int(target.Fd()))); err != nil {
		return err
	}
	return n.Do(func() error {
		card, err := netlink.LinkByIndex(index)
		if err != nil {
			return err
		}
		return errors.Join(netlink.LinkSetName(card, name), c.setMTU(name), linkUp(name)())
	})
}

// cardOf finds a card by its permanent address: a bond may have given it another one.
func cardOf(mac net.HardwareAddr) (netlink.Link, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		own := l.Attrs().PermHWAddr
		if len(own) == 0 {
			own = l.Attrs().HardwareAddr
		}
		if bytes.Equal(own, mac) {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no card %s: %w", mac, os.ErrNotExist)
}

func (c *Cards) setMTU(name string) error {
	if c.MTU == 0 {
		return nil
	}
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetMTU(l, c.MTU); err != nil {
		return fmt.Errorf("MTU %d of %s: %w", c.MTU, name, err)
	}
	return nil
}

// macOf returns the address of eth0 in a namespace.
func macOf(n *Namespace) (mac net.HardwareAddr, err error) {
	err = n.Do(func() error {
		l, err := netlink.LinkByName(hostInterface)
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	})
	return mac, err
}
