// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"unicode"
	"unicode/utf16"
)

// Identity is one extended heartbeat: it says to people, and to peers that have something to report, which node is
// behind a host ID. NLB sends its own every 10 s (IdentityHeartbeatPeriod). A host with several addresses sends one for
// each, for Wireshark's dissector takes all that follows an address for padding.
type Identity struct {
	// ClusterIP, HostIP and HostID are those of Message.
	ClusterIP, HostIP [4]byte
	HostID            uint8
	// HostKey and ClusterKey are those of Extension. They sit in reserved words, which are zero where Windows hosts send
	// them.
	HostKey, ClusterKey uint32
	// HostName is the node's name: 1..MaxHostName UTF-16 code units, all printable.
	HostName string
	// Addr is one of the host's addresses, of either family.
	Addr netip.Addr
	// Virtual says that Addr is a virtual IP of the cluster, else it is the node's own ("dedicated").
	Virtual bool
}

// MaxHostName is the length of the longest host name, that of the longest DNS name, in UTF-16 code units.
const MaxHostName = 253

// Types of the entries that follow the header, and address families in them.
const (
	typeHostName = 1
	typeAddress  = 2
	familyIPv4   = 0x02
	familyIPv6   = 0x17
)

const (
	entryHeader = 8 // type, length in units of 8 bytes, two reserved words
	nameTrailer = 6 // bytes that follow the NUL of a host name
)

// AppendTo appends the wire form to b. A longer host name than MaxHostName is cut.
func (i *Identity) AppendTo(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(KindIdentity))
	b = le.AppendUint32(b, Version)
	b = le.AppendUint32(b, uint32(i.HostID))
	b = append(b, i.ClusterIP[:]...)
	b = append(b, i.HostIP[:]...)
	name := utf16.Encode([]rune(i.HostName))
	name = name[:min(len(name), MaxHostName)]
	b = appendEntry(b, typeHostName, 0, i.HostKey, 2*(len(name)+1)+nameTrailer)
	for _, unit := range name {
		b = le.AppendUint16(b, unit)
	}
	b = append(b, make([]byte, 2+nameTrailer)...)
	var virtual uint16
	if i.Virtual {
		virtual = 1
	}
	if i.Addr.Is4() {
		b = appendEntry(b, typeAddress, virtual, i.ClusterKey, 8)
		b = le.AppendUint16(b, familyIPv4)
		return append(append(b, i.Addr.AsSlice()...), 0, 0)
	}
	addr := i.Addr.As16()
	b = appendEntry(b, typeAddress, virtual, i.ClusterKey, 24)
	b = le.AppendUint16(b, familyIPv6)
	return append(append(b, addr[:]...), make([]byte, 6)...)
}

// appendEntry appends the head of an entry whose value has the given number of bytes.
func appendEntry(b []byte, kind uint8, reserved16 uint16, reserved32 uint32, value int) []byte {
	const unit = 8
	b = append(b, kind, uint8((entryHeader+value+unit-1)/unit))
	b = binary.LittleEndian.AppendUint16(b, reserved16)
	return binary.LittleEndian.AppendUint32(b, reserved32)
}

// UnmarshalIdentity decodes a payload, which may be padded at its end. It accepts every payload that AppendTo makes
// from an Identity within its limits, and takes any input without panicking.
func UnmarshalIdentity(b []byte) (Identity, error) {
	var i Identity
	if len(b) < commonHeader {
		return i, fmt.Errorf("%w: %d bytes of %d", ErrSize, len(b), commonHeader)
	}
	if KindOf(b) != KindIdentity {
		return i, ErrForeign
	}
	le := binary.LittleEndian
	id := le.Uint32(b[offHostID:])
	if id < 1 || id > MaxHosts {
		return i, fmt.Errorf("%w: host ID %d", ErrMalformed, id)
	}
	i.HostID = uint8(id)
	copy(i.ClusterIP[:], b[offClusterIP:])
	copy(i.HostIP[:], b[offHostIP:])
	rest, err := i.getName(b[commonHeader:])
	if err != nil {
		return Identity{}, err
	}
	if err := i.getAddress(rest); err != nil {
		return Identity{}, err
	}
	return i, nil
}

// getName takes the entry of the host name and returns what follows it.
func (i *Identity) getName(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	if len(b) < entryHeader || b[0] != typeHostName {
		return nil, fmt.Errorf("%w: no host name", ErrMalformed)
	}
	if i.HostKey = le.Uint32(b[4:]); i.HostKey == 0 {
		return nil, ErrForeign // of a Windows host
	}
	var units []uint16
	for b = b[entryHeader:]; ; b = b[2:] {
		if len(b) < 2 {
			return nil, fmt.Errorf("%w: host name without end", ErrMalformed)
		}
		unit := le.Uint16(b)
		if unit == 0 {
			break
		}
		if len(units) == MaxHostName {
			return nil, fmt.Errorf("%w: host name of more than %d characters", ErrMalformed, MaxHostName)
		}
		units = append(units, unit)
	}
	name := utf16.Decode(units)
	for _, r := range name {
		if !unicode.IsPrint(r) {
			return nil, fmt.Errorf("%w: host name with character %U", ErrMalformed, r)
		}
	}
	if len(b) < 2+nameTrailer || len(name) == 0 {
		return nil, fmt.Errorf("%w: host name of %d characters with %d bytes after it", ErrMalformed, len(name), len(b))
	}
	i.HostName = string(name)
	return b[2+nameTrailer:], nil
}

// getAddress takes the entry of the address.
func (i *Identity) getAddress(b []byte) error {
	le := binary.LittleEndian
	if len(b) < entryHeader+2 || b[0] != typeAddress || le.Uint16(b[2:]) > 1 {
		return fmt.Errorf("%w: no address", ErrMalformed)
	}
	i.Virtual, i.ClusterKey = le.Uint16(b[2:]) == 1, le.Uint32(b[4:])
	family, value := le.Uint16(b[entryHeader:]), b[entryHeader+2:]
	switch {
	case family == familyIPv4 && len(value) >= 4:
		i.Addr = netip.AddrFrom4([4]byte(value))
	case family == familyIPv6 && len(value) >= 16:
		i.Addr = netip.AddrFrom16([16]byte(value))
	default:
		return fmt.Errorf("%w: %d bytes of an address of family %#x", ErrMalformed, len(value), family)
	}
	return nil
}
