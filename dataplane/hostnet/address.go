// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// ifaProto is linux/if_addr.h's IFA_PROTO (kernel 5.18): who added an address. Older kernels ignore it.
	ifaProto = 11
	// ownProto is our number there, after the 03-BF of the cluster MAC; 0..3 are the kernel's.
	ownProto = 0xbf
	// ownLabel marks IPv4 addresses where the kernel knows no IFA_PROTO, and shows people in "ip address".
	ownLabel = "lo:wlbs"
	// foreverLifetime is the kernel's INFINITY_LIFE_TIME.
	foreverLifetime = math.MaxUint32
)

// address is one address of an interface as the kernel reports it.
type address struct {
	ifindex int
	prefix  netip.Prefix
	label   string
	proto   uint8
}

func (a address) own(label string) bool {
	return a.proto == ownProto || a.label != "" && a.label == label
}

// addVIPs makes the virtual IPs local addresses of the node, as /32 or /128 on lo. They are added so that the
// node does not pick them as source of what it sends on its own account: with host scope in IPv4, and in
// IPv6 as deprecated ones. A virtual IP that lo has already is left as it is.
func addVIPs(ctx context.Context, vips []netip.Addr) error {
	return eachOnLo(ctx, "add", vips, func(lo int, vip netip.Addr, present *address) error {
		if present != nil {
			return nil
		}
		return newAddress(lo, vip, ownLabel, unix.IFA_F_NODAD)
	})
}

// RemoveVIPs removes those of the virtual IPs that addVIPs added, by this process or an earlier one.
// An address that somebody else put on lo stays. On kernels before 5.18 ours cannot be told from
// others' in IPv6, and no IPv6 address is removed.
func RemoveVIPs(ctx context.Context, vips []netip.Addr) error {
	return eachOnLo(ctx, "remove", vips, func(lo int, vip netip.Addr, present *address) error {
		if present == nil || !present.own(ownLabel) {
			return nil
		}
		return deleteAddress(lo, vip)
	})
}

// VIPs returns the addresses on lo that addVIPs added, for any cluster: what a crashed agent left behind.
func VIPs(ctx context.Context) ([]netip.Addr, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lo, err := loopback()
	if err != nil {
		return nil, err
	}
	all, err := addresses(lo)
	if err != nil {
		return nil, err
	}
	var own []netip.Addr
	for _, a := range all {
		if a.own(ownLabel) {
			own = append(own, a.prefix.Addr())
		}
	}
	return own, nil
}

// addGroup joins a multicast group on the interface until removeGroup, also while no agent runs, so that
// switches with IGMP or MLD snooping keep forwarding to this port (IGMPMulticast mode).
func addGroup(iface Interface, group netip.Addr) error {
	if !group.IsMulticast() {
		return fmt.Errorf("join %s on %s: no multicast group", group, iface.Name)
	}
	err := newAddress(iface.Index, group, groupLabel(iface), unix.IFA_F_MCAUTOJOIN|unix.IFA_F_NODAD)
	// EADDRINUSE: an interface that was set down lost the IPv6 address that stands for the group, but is a member still.
	if err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("join %s on %s: %w", group, iface.Name, err)
	}
	return nil
}

// removeGroup leaves a group that addGroup joined. An IPv6 group whose interface was set down in between stays
// joined until the node is rebooted: the kernel leaves it only together with the address that it lost.
func removeGroup(iface Interface, group netip.Addr) error {
	present, err := addresses(iface.Index)
	if err != nil {
		return err
	}
	for _, a := range present {
		if a.prefix.Addr() != group || !a.own(groupLabel(iface)) {
			continue
		}
		if err := deleteAddress(iface.Index, group); err != nil {
			return fmt.Errorf("leave %s on %s: %w", group, iface.Name, err)
		}
	}
	return nil
}

// groupLabel is empty where the kernel's 15 characters do not hold the interface's name and our mark.
func groupLabel(iface Interface) string {
	if label := iface.Name + ":wlbs"; len(label) < unix.IFNAMSIZ {
		return label
	}
	return ""
}

// eachOnLo calls do for every virtual IP with what lo has of it, and goes on after an error.
func eachOnLo(ctx context.Context, verb string, vips []netip.Addr,
	do func(lo int, vip netip.Addr, present *address) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	lo, err := loopback()
	if err != nil {
		return err
	}
	all, err := addresses(lo)
	if err != nil {
		return err
	}
	present := map[netip.Addr]*address{}
	for i := range all {
		if all[i].prefix.IsSingleIP() {
			present[all[i].prefix.Addr()] = &all[i]
		}
	}
	var errs []error
	for _, vip := range vips {
		err := do(lo, vip, present[vip])
		if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EADDRNOTAVAIL) {
			continue // another process was faster
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s virtual IP %s on lo: %w", verb, vip, err))
		}
	}
	return errors.Join(errs...)
}

func loopback() (int, error) {
	link, err := netlink.LinkByName("lo")
	if err != nil {
		return 0, fmt.Errorf("find lo: %w", err)
	}
	return link.Attrs().Index, nil
}

// addresses lists an interface's addresses of both families.
func addresses(ifindex int) ([]address, error) {
	all, err := allAddresses()
	if err != nil {
		return nil, fmt.Errorf("list addresses of interface %d: %w", ifindex, err)
	}
	return slices.DeleteFunc(all, func(a address) bool { return a.ifindex != ifindex }), nil
}

// allAddresses lists the addresses of all interfaces. netlink.AddrList leaves IFA_PROTO out.
func allAddresses() ([]address, error) {
	return retryDump(func() ([]address, error) {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if err != nil {
			return nil, err
		}
		var out []address
		for _, m := range msgs {
			msg := nl.DeserializeIfAddrmsg(m)
			attrs, err := nl.ParseRouteAttr(m[msg.Len():])
			if err != nil {
				return nil, err
			}
			if a := parseAddress(int(msg.Prefixlen), attrs); a.prefix.IsValid() {
				a.ifindex = int(msg.Index)
				out = append(out, a)
			}
		}
		return out, nil
	})
}

func parseAddress(bits int, attrs []syscall.NetlinkRouteAttr) address {
	var out address
	var ip netip.Addr
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case unix.IFA_ADDRESS:
			// IPv6 reports the local address here, IPv4 the peer's, which is the local one on lo and Ethernet.
			if a, ok := netip.AddrFromSlice(attr.Value); ok && !ip.IsValid() {
				ip = a
			}
		case unix.IFA_LOCAL:
			if a, ok := netip.AddrFromSlice(attr.Value); ok {
				ip = a
			}
		case unix.IFA_LABEL:
			out.label = unix.ByteSliceToString(attr.Value)
		case ifaProto:
			if len(attr.Value) > 0 {
				out.proto = attr.Value[0]
			}
		}
	}
	out.prefix = netip.PrefixFrom(ip, bits)
	return out
}

func newAddress(ifindex int, ip netip.Addr, label string, flags uint32) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	addAddress(req, ifindex, ip)
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	req.AddData(nl.NewRtAttr(ifaProto, []byte{ownProto}))
	if ip.Is4() && label != "" {
		req.AddData(nl.NewRtAttr(unix.IFA_LABEL, nl.ZeroTerminated(label)))
	}
	if !ip.Is4() {
		lifetimes := make([]byte, unix.SizeofIfaCacheinfo) // preferred for 0 s: deprecated
		binary.NativeEndian.PutUint32(lifetimes[4:], foreverLifetime)
		req.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, lifetimes))
	}
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func deleteAddress(ifindex int, ip netip.Addr) error {
	req := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	addAddress(req, ifindex, ip)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

func addAddress(req *nl.NetlinkRequest, ifindex int, ip netip.Addr) {
	msg := nl.NewIfAddrmsg(family(ip))
	msg.Index = uint32(ifindex)
	msg.Prefixlen = uint8(ip.BitLen())
	msg.Scope = unix.RT_SCOPE_HOST
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()))
}
