// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
)

// Link is what an interface does at one moment.
type Link struct {
	// Running says that it is up and has a carrier, as far as its driver knows.
	Running bool
	// Transmitted counts the packets handed to the driver, VIP traffic or not.
	Transmitted uint64
}

// ReadLink asks the kernel about an interface.
func ReadLink(ifindex int) (Link, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return Link{}, fmt.Errorf("statistics of interface %d: %w", ifindex, err)
	}
	const running = net.FlagUp | net.FlagRunning
	out := Link{Running: l.Attrs().Flags&running == running}
	if l.Attrs().Statistics != nil {
		out.Transmitted = l.Attrs().Statistics.TxPackets
	}
	return out, nil
}
