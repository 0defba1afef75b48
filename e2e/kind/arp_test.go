// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// arpAnswers asks by ARP for an address and returns the Ethernet addresses that answers came from within half a second: a kernel
// takes one answer, and so hides that there are others.
func arpAnswers(t *testing.T, bridge string, address netip.Addr) map[[6]byte]bool {
	t.Helper()
	const request, reply, operationAt, senderAt = 1, 2, 6, 14
	iface, err := net.InterfaceByName(bridge)
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	timeout := unix.NsecToTimeval((50 * time.Millisecond).Nanoseconds())
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: iface.Index}))

	packet := binary.BigEndian.AppendUint16(nil, 1) // Ethernet
	packet = binary.BigEndian.AppendUint16(packet, unix.ETH_P_IP)
	packet = append(packet, 6, 4)
	packet = binary.BigEndian.AppendUint16(packet, request)
	packet = append(packet, iface.HardwareAddr...)
	packet = append(packet, addressOf(t, iface)...)
	packet = append(packet, make([]byte, 6)...)
	packet = append(packet, address.AsSlice()...)
	everybody := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ARP), Ifindex: iface.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255}}
	must(t, unix.Sendto(fd, packet, 0, everybody))

	senders := map[[6]byte]bool{}
	buffer := make([]byte, 1500)
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); {
		n, from, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		must(t, err)
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype == unix.PACKET_OUTGOING || n < senderAt+4 || binary.BigEndian.Uint16(buffer[operationAt:]) != reply {
			continue
		}
		if [4]byte(buffer[senderAt:senderAt+4]) == address.As4() {
			senders[[6]byte(link.Addr[:6])] = true
		}
	}
	if len(senders) == 0 {
		t.Errorf("nobody answers ARP for %s", address)
	}
	return senders
}

// addressOf returns the IPv4 address of an interface.
func addressOf(t *testing.T, iface *net.Interface) []byte {
	t.Helper()
	addresses, err := iface.Addrs()
	must(t, err)
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Is4() {
			return prefix.Addr().AsSlice()
		}
	}
	t.Fatalf("interface %s has no IPv4 address", iface.Name)
	return nil
}
