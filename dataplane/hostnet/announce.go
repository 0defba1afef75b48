// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

var (
	broadcastMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	allNodesMAC  = net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	allNodes     = netip.MustParseAddr("ff02::1")
)

// Announce tells the neighbours on the segment that vip is at clusterMAC, by ARP or by a neighbour
// advertisement as the address demands. The frame's source is the interface's own MAC.
func Announce(iface Interface, vip netip.Addr, clusterMAC net.HardwareAddr) error {
	if vip.Is4() {
		return sendGratuitousARP(iface, vip, clusterMAC)
	}
	return sendUnsolicitedNA(iface, vip, clusterMAC)
}

// sendGratuitousARP announces an IPv4 address as ARP announcement (a request for the own address, RFC 5227
// section 3) and as ARP reply: some neighbours take only one of them.
func sendGratuitousARP(iface Interface, vip netip.Addr, clusterMAC net.HardwareAddr) error {
	if !vip.Is4() {
		return fmt.Errorf("announce %s on %s: no IPv4 address", vip, iface.Name)
	}
	const request, reply = 1, 2
	return send(iface, vip, clusterMAC, unix.ETH_P_ARP,
		gratuitousARP(iface.MAC, clusterMAC, vip, request, make(net.HardwareAddr, 6)),
		gratuitousARP(iface.MAC, clusterMAC, vip, reply, clusterMAC))
}

// sendUnsolicitedNA announces an IPv6 address by a neighbour advertisement to all nodes with the override
// flag (RFC 4861 section 7.2.6).
func sendUnsolicitedNA(iface Interface, vip netip.Addr, clusterMAC net.HardwareAddr) error {
	if !vip.Is6() || vip.Is4In6() {
		return fmt.Errorf("announce %s on %s: no IPv6 address", vip, iface.Name)
	}
	return send(iface, vip, clusterMAC, unix.ETH_P_IPV6, unsolicitedNA(iface.MAC, clusterMAC, vip))
}

func send(iface Interface, vip netip.Addr, clusterMAC net.HardwareAddr, etherType uint16, frames ...[]byte) error {
	if bytes.Equal(iface.MAC, clusterMAC) {
		// A switch that learns the cluster MAC at a port stops flooding to all hosts.
		return fmt.Errorf("announce %s: %s has the cluster MAC as its own", vip, iface.Name)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("announce %s on %s: open packet socket: %w", vip, iface.Name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	to := &unix.SockaddrLinklayer{Ifindex: iface.Index, Protocol: htons(etherType)}
	var errs []error
	for _, f := range frames {
		if err := unix.Sendto(fd, f, unix.MSG_DONTWAIT, to); err != nil {
			errs = append(errs, fmt.Errorf("announce %s on %s: %w", vip, iface.Name, err))
		}
	}
	return errors.Join(errs...)
}

func gratuitousARP(src, sender net.HardwareAddr, vip netip.Addr, op uint16, target net.HardwareAddr) []byte {
	ip := vip.As4()
	f := ethernet(broadcastMAC, src, unix.ETH_P_ARP)
	f = append(f, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4 and their address lengths
	f = binary.BigEndian.AppendUint16(f, op)
	f = append(append(f, sender...), ip[:]...)
	return append(append(f, target...), ip[:]...)
}

func unsolicitedNA(src, target net.HardwareAddr, vip netip.Addr) []byte {
	const (
		neighbourAdvertisement = 136
		overrideFlag           = 0x20
		targetLinkLayerOption  = 2
		icmpv6                 = 58
	)
	from, to := vip.As16(), allNodes.As16()
	icmp := []byte{neighbourAdvertisement, 0, 0, 0, overrideFlag, 0, 0, 0}
	icmp = append(icmp, from[:]...)
	icmp = append(append(icmp, targetLinkLayerOption, 1), target...)
	binary.BigEndian.PutUint16(icmp[2:], checksum6(from, to, icmpv6, icmp))

	f := ethernet(allNodesMAC, src, unix.ETH_P_IPV6)
	f = append(f, 0x60, 0, 0, 0, 0, byte(len(icmp)), icmpv6, 255) // hop limit 255: not forwarded (RFC 4861 section 7.1)
	f = append(append(f, from[:]...), to[:]...)
	return append(f, icmp...)
}

// checksum6 is the Internet checksum over the IPv6 pseudo header and data of even length.
func checksum6(from, to [16]byte, nextHeader byte, data []byte) uint16 {
	pseudo := append(append(from[:], to[:]...), 0, 0, 0, byte(len(data)), 0, 0, 0, nextHeader)
	var sum uint32
	for _, part := range [][]byte{pseudo, data} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func ethernet(dst, src net.HardwareAddr, etherType uint16) []byte {
	f := append(bytes.Clone(dst), src...)
	return binary.BigEndian.AppendUint16(f, etherType)
}

// htons returns v as the kernel's __be16 reads it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
