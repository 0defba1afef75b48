// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	icmpProtocol   = 1
	tcpProtocol    = 6
	udpProtocol    = 17
	greProtocol    = 47
	icmpv6Protocol = 58

	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10

	etherTypeIPv4      = 0x0800
	etherTypeARP       = 0x0806
	etherTypeIPv6      = 0x86dd
	etherTypeHeartbeat = 0x886f
)

var (
	testClusterMAC = net.HardwareAddr{0x03, 0xbf, 10, 0, 0, 100}
	testHostMAC    = net.HardwareAddr{0x02, 0, 0, 0, 0, 1}
	testClientMAC  = net.HardwareAddr{0x02, 0, 0, 0, 0, 2}
)

// packetSpec describes a frame from src to dst; the zero value of what a test does not care
// for is something valid.
type packetSpec struct {
	src, dst     netip.Addr
	protocol     uint8 // tcpProtocol where 0
	sport, dport uint16
	flags        uint8 // TCP; ACK where 0
	icmpType     uint8
	payload      int

	etherSource net.HardwareAddr // testClientMAC where nil
	options     []byte           // IPv4 options, a multiple of 4
	extensions  []byte           // IPv6 extension headers; the first one's type is firstNext
	firstNext   uint8
	fragment    uint16 // IPv4 fragment offset in units of 8 octets
	more        bool
	mutate      func(frame []byte)
	truncate    int // cut so many octets off the end
}

// from returns the packet in the direction of the server's answer.
func (p packetSpec) reversed() packetSpec {
	p.src, p.dst, p.sport, p.dport = p.dst, p.src, p.dport, p.sport
	p.etherSource = testHostMAC
	return p
}

func (p packetSpec) bytes() []byte {
	if p.protocol == 0 {
		p.protocol = tcpProtocol
	}
	l4 := p.transport()
	ip := p.ipv6(l4)
	etherType := uint16(etherTypeIPv6)
	if p.src.Is4() {
		ip = p.ipv4(l4)
		etherType = etherTypeIPv4
	}
	source := p.etherSource
	if source == nil {
		source = testClientMAC
	}
	frame := ethernet(testClusterMAC, source, etherType, ip)
	if p.mutate != nil {
		p.mutate(frame)
	}
	return frame[:len(frame)-p.truncate]
}

func (p packetSpec) transport() []byte {
	var b []byte
	switch p.protocol {
	case tcpProtocol:
		flags := p.flags
		if flags == 0 {
			flags = flagACK
		}
		b = make([]byte, 20)
		binary.BigEndian.PutUint16(b, p.sport)
		binary.BigEndian.PutUint16(b[2:], p.dport)
		b[12], b[13] = 5<<4, flags
	case udpProtocol:
		b = make([]byte, 8)
		binary.BigEndian.PutUint16(b, p.sport)
		binary.BigEndian.PutUint16(b[2:], p.dport)
		binary.BigEndian.PutUint16(b[4:], uint16(8+p.payload))
	case icmpProtocol, icmpv6Protocol:
		b = make([]byte, 8)
		b[0] = p.icmpType
	}
	return append(b, make([]byte, p.payload)...)
}

func (p packetSpec) ipv4(l4 []byte) []byte {
	h := make([]byte, 20, 20+len(p.options)+len(l4))
	h[0] = 4<<4 | uint8(5+len(p.options)/4)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(p.options)+len(l4)))
	offset := p.fragment
	if p.more {
		offset |= 0x2000
	}
	binary.BigEndian.PutUint16(h[6:], offset)
	h[8], h[9] = 64, p.protocol
	src, dst := p.src.As4(), p.dst.As4()
	copy(h[12:], src[:])
	copy(h[16:], dst[:])
	h = append(h, p.options...)
	binary.BigEndian.PutUint16(h[10:], ^onesComplement(0, h))
	return append(h, l4...)
}

func (p packetSpec) ipv6(l4 []byte) []byte {
	h := make([]byte, 40, 40+len(p.extensions)+len(l4))
	h[0] = 6 << 4
	binary.BigEndian.PutUint16(h[4:], uint16(len(p.extensions)+len(l4)))
	h[6], h[7] = p.protocol, 64
	if len(p.extensions) > 0 {
		h[6] = p.firstNext
	}
	src, dst := p.src.As16(), p.dst.As16()
	copy(h[8:], src[:])
	copy(h[24:], dst[:])
	return append(append(h, p.extensions...), l4...)
}

func ethernet(dst, src net.HardwareAddr, etherType uint16, payload []byte) []byte {
	frame := make([]byte, 14, 14+len(payload))
	copy(frame, dst)
	copy(frame[6:], src)
	binary.BigEndian.PutUint16(frame[12:], etherType)
	return append(frame, payload...)
}

func onesComplement(sum uint32, b []byte) uint16 {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
