// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrNoInterface says that no interface fits; the error that wraps it says what was looked for.
var ErrNoInterface = errors.New("no such interface")

// ErrAmbiguous says that more than one interface fits, so that the user has to name one.
var ErrAmbiguous = errors.New("more than one interface fits")

// Interface is the interface that carries a cluster's virtual IPs.
type Interface struct {
	// Index is the kernel's number of the interface.
	Index int
	// Name such as eth0.
	Name string
	// MTU in bytes.
	MTU int
	// MAC is the interface's own address.
	MAC net.HardwareAddr
	// Addr is the node's own (dedicated) address on the interface, with its subnet: the one whose subnet
	// holds the primary virtual IP, else the first of that family, else invalid.
	Addr netip.Prefix
}

// FindInterface returns the interface of that name. If name is empty it returns the one with the longest
// subnet that holds the primary virtual IP.
func FindInterface(name string, primary netip.Addr) (Interface, error) {
	if name != "" {
		return interfaceByName(name, primary)
	}
	links, err := retryDump(netlink.LinkList)
	if err != nil {
		return Interface{}, fmt.Errorf("list interfaces: %w", err)
	}
	var best []Interface
	var seen []string
	for _, link := range links {
		if !carriesVIPs(link) {
			continue
		}
		found, err := describe(link, primary)
		if err != nil {
			return Interface{}, err
		}
		if !found.Addr.IsValid() {
			continue
		}
		seen = append(seen, found.Name+" "+found.Addr.String())
		if !found.Addr.Contains(primary) {
			continue
		}
		if len(best) > 0 && found.Addr.Bits() > best[0].Addr.Bits() {
			best = best[:0]
		}
		if len(best) == 0 || found.Addr.Bits() == best[0].Addr.Bits() {
			best = append(best, found)
		}
	}
	switch len(best) {
	case 1:
		return best[0], nil
	case 0:
		return Interface{}, fmt.Errorf("%w: none has a subnet that holds %s (there are: %s)",
			ErrNoInterface, primary, strings.Join(seen, ", "))
	default:
		return Interface{}, fmt.Errorf("%w: %s and %s both have a subnet that holds %s",
			ErrAmbiguous, best[0].Name, best[1].Name, primary)
	}
}

func interfaceByName(name string, primary netip.Addr) (Interface, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return Interface{}, fmt.Errorf("%w: %s", ErrNoInterface, name)
	}
	if err != nil {
		return Interface{}, fmt.Errorf("find interface %s: %w", name, err)
	}
	if !carriesVIPs(link) {
		return Interface{}, fmt.Errorf("%w: %s is no Ethernet interface", ErrNoInterface, name)
	}
	return describe(link, primary)
}

// carriesVIPs reports whether frames on the link have Ethernet headers; lo says so too, but has no peers.
func carriesVIPs(link netlink.Link) bool {
	attrs := link.Attrs()
	return attrs.EncapType == "ether" && attrs.Flags&net.FlagLoopback == 0 && len(attrs.HardwareAddr) == 6
}

func describe(link netlink.Link, primary netip.Addr) (Interface, error) {
	attrs := link.Attrs()
	out := Interface{Index: attrs.Index, Name: attrs.Name, MTU: attrs.MTU, MAC: attrs.HardwareAddr}
	addrs, err := retryDump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, family(primary)) })
	if err != nil {
		return Interface{}, fmt.Errorf("list addresses of %s: %w", attrs.Name, err)
	}
	out.Addr = dedicated(addrs, primary)
	return out, nil
}

// dedicated picks the node's own address: host routes (a /32 or /128 is no subnet), addresses that
// are not valid yet or any more, and the virtual IP itself are none.
func dedicated(addrs []netlink.Addr, primary netip.Addr) netip.Prefix {
	var first, holding netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		ip = ip.Unmap()
		ones, _ := a.Mask.Size()
		prefix := netip.PrefixFrom(ip, ones)
		unusable := unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
		if a.Flags&unusable != 0 || ip == primary || !ip.IsGlobalUnicast() || prefix.IsSingleIP() {
			continue
		}
		if !first.IsValid() {
			first = prefix
		}
		if prefix.Contains(primary) && (!holding.IsValid() || ones > holding.Bits()) {
			holding = prefix
		}
	}
	if holding.IsValid() {
		return holding
	}
	return first
}

func family(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// retryDump repeats a netlink dump that the kernel marked as interrupted by a change: its result may
// lack entries.
func retryDump[T any](dump func() ([]T, error)) ([]T, error) {
	const attempts = 5
	var out []T
	var err error
	for range attempts {
		out, err = dump()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}
