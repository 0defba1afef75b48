// SPDX-License-Identifier: Apache-2.0

package heartbeat

import "encoding/binary"

// ReliableHeaderSize is the length in bytes of a ReliableHeader on the wire.
const ReliableHeaderSize = 28

const (
	offReliableMagic      = 20
	offReliableClusterKey = 24

	reliableMagic = 0x534C574B // "KWLS" on the wire
)

// ReliableHeader is what a frame of KindReliable begins with. Package sticky knows what follows.
type ReliableHeader struct {
	// ClusterIP, HostIP and HostID are those of Message. The host ID is not checked.
	ClusterIP, HostIP [4]byte
	HostID            uint32
	// ClusterKey is that of Extension.
	ClusterKey uint32
}

// Put writes the header to the first ReliableHeaderSize bytes of b.
func (h *ReliableHeader) Put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(KindReliable))
	le.PutUint32(b[4:], Version)
	le.PutUint32(b[offHostID:], h.HostID)
	copy(b[offClusterIP:], h.ClusterIP[:])
	copy(b[offHostIP:], h.HostIP[:])
	le.PutUint32(b[offReliableMagic:], reliableMagic)
	le.PutUint32(b[offReliableClusterKey:], h.ClusterKey)
}

// ReliableHeaderOf reads the header of a payload, and reports false if it is too short or not one of kube-wlbs.
func ReliableHeaderOf(b []byte) (ReliableHeader, bool) {
	le := binary.LittleEndian
	if len(b) < ReliableHeaderSize || KindOf(b) != KindReliable || le.Uint32(b[offReliableMagic:]) != reliableMagic {
		return ReliableHeader{}, false
	}
	h := ReliableHeader{HostID: le.Uint32(b[offHostID:]), ClusterKey: le.Uint32(b[offReliableClusterKey:])}
	copy(h.ClusterIP[:], b[offClusterIP:])
	copy(h.HostIP[:], b[offHostIP:])
	return h, true
}
