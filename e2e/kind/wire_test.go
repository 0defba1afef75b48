// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// replies listens on the bridge for what hosts answer on a virtual IP, by which a client's kernel would hide that two
// hosts answered one connection: it takes the first SYN-ACK and resets the other host's.
type replies struct {
	fd    int
	ended chan struct{}
	mu    sync.Mutex
	// from holds, for each port of the client's, the Ethernet addresses that SYN-ACKs or resets came from.
	from map[uint16]map[[6]byte]bool
}

// listen starts to listen for answers from target.
func listen(t *testing.T, bridge string, target netip.AddrPort) *replies {
	t.Helper()
	iface, err := net.InterfaceByName(bridge)
	must(t, err)
	// SOCK_DGRAM: the kernel takes the Ethernet header off and gives its source address apart.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
	timeout := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout))
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(etherType(target.Addr())), Ifindex: iface.Index}))
	r := &replies{fd: fd, ended: make(chan struct{}), from: map[uint16]map[[6]byte]bool{}}
	done := make(chan struct{})
	go r.read(target, done)
	t.Cleanup(func() { close(done); <-r.ended })
	return r
}

func etherType(a netip.Addr) uint16 {
	if a.Is6() {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (r *replies) read(target netip.AddrPort, done <-chan struct{}) {
	defer close(r.ended)
	defer unix.Close(r.fd)
	packet := make([]byte, 1<<16)
	for {
		select {
		case <-done:
			return
		default:
		}
		n, from, err := unix.Recvfrom(r.fd, packet, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return
		}
		if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype != unix.PACKET_OUTGOING {
			r.note(packet[:n], [6]byte(link.Addr[:6]), target)
		}
	}
}

// note keeps the sender of a SYN-ACK or reset.
func (r *replies) note(packet []byte, sender [6]byte, target netip.AddrPort) {
	const tcpHeader, syn, reset, flagsAt = 20, 0x02, 0x04, 13
	source, tcp := tcpSegment(packet)
	if len(tcp) < tcpHeader || source != target.Addr() ||
		binary.BigEndian.Uint16(tcp) != target.Port() || tcp[flagsAt]&(syn|reset) == 0 {
		return
	}
	port := binary.BigEndian.Uint16(tcp[2:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from[port] == nil {
		r.from[port] = map[[6]byte]bool{}
	}
	r.from[port][sender] = true
}

// tcpSegment finds the source address and the TCP segment of an IP packet without IPv6 extension headers; the segment is
// empty if there is none.
func tcpSegment(packet []byte) (netip.Addr, []byte) {
	const ip4Header, ip6Header = 20, 40
	switch {
	case len(packet) >= ip4Header && packet[0]>>4 == 4 && packet[9] == unix.IPPROTO_TCP:
		return netip.AddrFrom4([4]byte(packet[12:16])), packet[min(len(packet), int(packet[0]&0x0f)*4):]
	case len(packet) >= ip6Header && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_TCP:
		return netip.AddrFrom16([16]byte(packet[8:24])), packet[ip6Header:]
	}
	return netip.Addr{}, nil
}

// mustBeServedByOne checks that each connection was answered by one host alone, the one that the client took for it. On a
// busy machine the answers are read some time after the client had them.
func (r *replies) mustBeServedByOne(t *testing.T, attempts []attempt, macs map[string]net.HardwareAddr) {
	t.Helper()
	eventually.Must(t, time.Minute, "read the answers to all connections", func(context.Context) error {
		for _, a := range attempts {
			if len(r.sendersTo(a.local.Port())) == 0 {
				return fmt.Errorf("none to %s", a.local)
			}
		}
		return nil
	})
	for _, a := range attempts {
		senders := r.sendersTo(a.local.Port())
		if len(senders) != 1 || !senders[[6]byte(macs[a.node])] {
			t.Errorf("the connection from %s was answered by %s, whose address is %s; frames came from %v",
				a.local, a.node, macs[a.node], senders)
		}
	}
}

// sendersTo are those of whom an answer to a port of the client's was read.
func (r *replies) sendersTo(port uint16) map[[6]byte]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.from[port])
}
