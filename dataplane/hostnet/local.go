// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// LocalAddresses returns the node's own addresses, of all its interfaces, with the names of these. A cluster must not
// have one of them as virtual IP: all hosts would answer for it. Virtual IPs that addVIPs put on lo are not among them.
func LocalAddresses(ctx context.Context) (map[netip.Addr]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, err := allAddresses()
	if err != nil {
		return nil, fmt.Errorf("list addresses of all interfaces: %w", err)
	}
	lo, err := loopback()
	if err != nil {
		return nil, err
	}
	links, err := retryDump(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	own := map[netip.Addr]string{}
	for _, a := range all {
		virtual := a.ifindex == lo && a.own(ownLabel)
		if addr := a.prefix.Addr(); !addr.IsMulticast() && !virtual {
			own[addr] = names[a.ifindex]
		}
	}
	return own, nil
}
