// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Transmitted returns how many packets the interface has handed to its driver, VIP traffic or not.
func Transmitted(ifindex int) (uint64, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return 0, fmt.Errorf("statistics of interface %d: %w", ifindex, err)
	}
	if l.Attrs().Statistics == nil {
		return 0, nil
	}
	return l.Attrs().Statistics.TxPackets, nil
}
