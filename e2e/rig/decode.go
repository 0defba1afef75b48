// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// packet is what the rig needs to know of an IP packet that it captured.
type packet struct {
	src, dst netip.Addr
	// protocol of the payload; extension headers are skipped, fragments are not.
	protocol uint8
	payload  []byte
}

// decode reads an IPv4 or IPv6 packet, and reports whether the frame has one.
func decode(f Frame) (packet, bool) {
	const ethernet, header4, header6 = 14, 20, 40
	d := f.Data[min(ethernet, len(f.Data)):]
	switch {
	case f.EtherType() == unix.ETH_P_IP && len(d) >= header4 && len(d) >= int(d[0]&0xf)*4:
		return packet{
			src: netip.AddrFrom4([4]byte(d[12:16])), dst: netip.AddrFrom4([4]byte(d[16:20])),
			protocol: d[9], payload: d[max(header4, int(d[0]&0xf)*4):],
		}, true
	case f.EtherType() == unix.ETH_P_IPV6 && len(d) >= header6:
		p := packet{
			src: netip.AddrFrom16([16]byte(d[8:24])), dst: netip.AddrFrom16([16]byte(d[24:40])),
			protocol: d[6], payload: d[header6:min(len(d), header6+int(binary.BigEndian.Uint16(d[4:])))],
		}
		for isOptions(p.protocol) && len(p.payload) >= 8 && len(p.payload) >= (int(p.payload[1])+1)*8 {
			p.protocol, p.payload = p.payload[0], p.payload[(int(p.payload[1])+1)*8:]
		}
		return p, true
	}
	return packet{}, false
}

func isOptions(next uint8) bool { return next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_DSTOPTS }
