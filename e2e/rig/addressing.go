// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// VIP and VIP6 are the virtual IPs of the rig. Its clusters have the first unless Options.Change says otherwise;
// hosts and clients have addresses of the families of the cluster's virtual IPs.
var (
	VIP  = netip.MustParseAddr("10.77.0.100")
	VIP6 = netip.MustParseAddr("fd00:77::100")
)

const (
	subnetBits, subnetBits6 = 16, 64
	// remoteNet and remoteNet6 hold all of RemoteAddr and RemoteAddr6. The hosts reach them by way of the first client.
	remoteNet, remoteNet6 = "10.128.0.0/9", "fd01::/16"
)

// HostAddr returns the address of the host with an ID, of the family of the virtual IP that is given.
func HostAddr(id int, like netip.Addr) netip.Addr {
	if like.Is6() {
		return addr6("fd00:77::", 0, byte(id))
	}
	return netip.AddrFrom4([4]byte{10, 77, 0, byte(id)})
}

// ClientAddr returns the address of one client, 0..Clients-1; ClientAddr6 is its IPv6 address.
func ClientAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 1, byte(1 + i%Clients)}) }

// ClientAddr6 is the same client as ClientAddr.
func ClientAddr6(i int) netip.Addr { return addr6("fd00:77::", 1, byte(1+i%Clients)) }

// RemoteAddr returns the address of one of the 32,000 clients beyond the segment: each is in a /24 of its own.
func RemoteAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(128 + i>>8&0x7f), byte(i), byte(1 + i%250)})
}

// RemoteAddr6 returns the address of one of 65,000 clients beyond the segment: each is in a /64 of its own.
func RemoteAddr6(i int) netip.Addr {
	b := netip.MustParseAddr("fd01::").As16()
	b[6], b[7], b[15] = byte(i>>8), byte(i), byte(1+i%250)
	return netip.AddrFrom16(b)
}

// addr6 returns an address of a subnet that ends in two numbers.
func addr6(subnet string, x, y byte) netip.Addr {
	b := netip.MustParseAddr(subnet).As16()
	b[13], b[15] = x, y
	return netip.AddrFrom16(b)
}

// client returns the address of one of a load's clients, of the target's family.
func (l Load) client(i int) netip.Addr {
	of := [2][2]func(int) netip.Addr{{ClientAddr, ClientAddr6}, {RemoteAddr, RemoteAddr6}}[number(l.Remote)]
	return of[number(l.Target.Addr().Is6())](l.First + i)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// vips returns the virtual IPs of the cluster; those that are no addresses are left out.
func (r *Rig) vips() []netip.Addr {
	var out []netip.Addr
	for _, s := range r.Cluster.Spec.VirtualIPs {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// families returns the first virtual IP of each family that the cluster has.
func (r *Rig) families() []netip.Addr {
	var out []netip.Addr
	var seen [2]bool
	for _, vip := range r.vips() {
		if v6 := number(vip.Is6()); !seen[v6] {
			seen[v6] = true
			out = append(out, vip)
		}
	}
	return out
}

// addressClient gives the clients their addresses.
func (r *Rig) addressClient() error {
	for _, like := range r.families() {
		var addrs []netip.Prefix
		bits, of, beyond := subnetBits, ClientAddr, remoteNet
		if like.Is6() {
			bits, of, beyond = subnetBits6, ClientAddr6, remoteNet6
		}
		for i := range Clients {
			addrs = append(addrs, netip.PrefixFrom(of(i), bits))
		}
		if err := r.Client.Do(addAddresses(addrs...)); err != nil {
			return err
		}
		if _, err := r.Client.Run("ip", "route", "add", "local", beyond, "dev", "lo"); err != nil {
			return err
		}
		if like.Is4() {
			continue
		}
		// IPv4 binds to whatever the local table has, IPv6 to addresses only.
		if err := r.Client.Do(func() error { return setSysctl("ipv6/ip_nonlocal_bind", 1) }); err != nil {
			return err
		}
	}
	return nil
}

// address gives the host its addresses, and the way to the clients beyond the segment.
func (h *Host) address() error {
	for _, like := range h.rig.families() {
		bits, router, beyond := subnetBits, ClientAddr(0), remoteNet
		if like.Is6() {
			bits, router, beyond = subnetBits6, ClientAddr6(0), remoteNet6
		}
		if err := h.NS.Do(addAddresses(netip.PrefixFrom(HostAddr(h.ID, like), bits))); err != nil {
			return err
		}
		if _, err := h.NS.Run("ip", "route", "add", beyond, "via", router.String()); err != nil {
			return err
		}
	}
	return nil
}

// addAddresses puts addresses on eth0, usable at once: the rig gives none away twice.
func addAddresses(addrs ...netip.Prefix) func() error {
	return func() error {
		link, err := netlink.LinkByName(hostInterface)
		if err != nil {
			return fmt.Errorf("find %s: %w", hostInterface, err)
		}
		for _, a := range addrs {
			addr, err := netlink.ParseAddr(a.String())
			if err != nil {
				return err
			}
			if a.Addr().Is6() {
				addr.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, addr); err != nil {
				return fmt.Errorf("add %s: %w", a, err)
			}
		}
		return nil
	}
}

// setSysctl sets a kernel parameter of the namespace of the calling thread, such as "ipv4/ip_forward".
func setSysctl(name string, value int) error {
	if err := os.WriteFile("/proc/sys/net/"+name, []byte(strconv.Itoa(value)), 0o644); err != nil {
		return fmt.Errorf("set net/%s: %w", name, err)
	}
	return nil
}
