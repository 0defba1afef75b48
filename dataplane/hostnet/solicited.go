// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// joinSolicitedNodes makes the interface a member of the solicited-node groups (RFC 4291 section 2.7.1) of the IPv6
// addresses among vips, until leaveSolicitedNodes, also while no agent runs: neighbours send their solicitations there,
// and neither the interface's receive filter nor a switch with MLD snooping lets them through to others. With the
// virtual IP on lo the kernel joins on lo only.
//
// A neighbour proxy entry does it: the kernel counts one use of the group for each, and reports them by MLD. It does
// not answer for the address unless sysctl proxy_ndp says so, and the filter takes the solicitations before. A
// multicast address with autojoin on the interface would be no way: of link-local scope, it may pass for the
// interface's own link-local address.
//
// An entry that somebody else made stays as it is. The entries go when the interface is set down.
func joinSolicitedNodes(iface Interface, vips []netip.Addr) error {
	return eachProxy(iface, "join", vips, func(vip netip.Addr, present *proxy) error {
		if present != nil {
			return nil
		}
		return changeProxy(iface, vip, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	})
}

// leaveSolicitedNodes undoes joinSolicitedNodes, by this process or an earlier one, and does nothing if the interface
// is gone.
func leaveSolicitedNodes(iface Interface, vips []netip.Addr) error {
	return eachProxy(iface, "leave", vips, func(vip netip.Addr, present *proxy) error {
		if present == nil || present.proto != ownProto {
			return nil
		}
		return changeProxy(iface, vip, unix.RTM_DELNEIGH, 0)
	})
}

// proxy is one neighbour proxy entry of an interface.
type proxy struct {
	addr netip.Addr
	// proto is NDA_PROTOCOL (kernel 4.21): who made it.
	proto uint8
}

// eachProxy calls do for every IPv6 address with the entry that the interface has for it, and goes on after an error.
func eachProxy(iface Interface, verb string, vips []netip.Addr, do func(netip.Addr, *proxy) error) error {
	var errs []error
	present, err := proxies(iface)
	if err != nil {
		return err
	}
	for _, vip := range vips {
		if !vip.Is6() || vip.Is4In6() {
			continue
		}
		err := do(vip, present[vip])
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			continue // another process was faster, or the interface is gone
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s the solicited-node group of %s on %s: %w", verb, vip, iface.Name, err))
		}
	}
	return errors.Join(errs...)
}

func proxies(iface Interface) (map[netip.Addr]*proxy, error) {
	out, err := retryDump(func() ([]proxy, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, unix.NLM_F_DUMP)
		req.AddData(&netlink.Ndmsg{Family: unix.AF_INET6, Flags: netlink.NTF_PROXY})
		msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWNEIGH)
		if err != nil {
			return nil, err
		}
		var out []proxy
		for _, m := range msgs {
			p, err := parseProxy(m, iface.Index)
			if err != nil {
				return nil, err
			}
			if p.addr.IsValid() {
				out = append(out, p)
			}
		}
		return out, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list neighbour proxies of %s: %w", iface.Name, err)
	}
	byAddr := map[netip.Addr]*proxy{}
	for i := range out {
		byAddr[out[i].addr] = &out[i]
	}
	return byAddr, nil
}

// parseProxy returns the zero proxy for an entry of another interface.
func parseProxy(message []byte, ifindex int) (proxy, error) {
	var header netlink.Ndmsg
	if len(message) < header.Len() || int(nl.NativeEndian().Uint32(message[4:])) != ifindex {
		return proxy{}, nil
	}
	attrs, err := nl.ParseRouteAttr(message[header.Len():])
	if err != nil {
		return proxy{}, err
	}
	var out proxy
	for _, a := range attrs {
		switch {
		case a.Attr.Type == netlink.NDA_DST:
			out.addr, _ = netip.AddrFromSlice(a.Value)
		case a.Attr.Type == netlink.NDA_PROTOCOL && len(a.Value) > 0:
			out.proto = a.Value[0]
		}
	}
	return out, nil
}

func changeProxy(iface Interface, addr netip.Addr, message, flags int) error {
	req := nl.NewNetlinkRequest(message, flags|unix.NLM_F_ACK)
	req.AddData(&netlink.Ndmsg{Family: unix.AF_INET6, Index: uint32(iface.Index), Flags: netlink.NTF_PROXY})
	req.AddData(nl.NewRtAttr(netlink.NDA_DST, addr.AsSlice()))
	req.AddData(nl.NewRtAttr(netlink.NDA_PROTOCOL, []byte{ownProto}))
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}
