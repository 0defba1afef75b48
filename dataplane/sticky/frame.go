// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Layout of a frame, which is as long as a heartbeat: a heartbeat.ReliableHeader, what a chunk is, its clients, and
// room for an authentication code at the end. All little-endian but the addresses.
const (
	offType        = heartbeat.ReliableHeaderSize
	offOwner       = 29
	offCount       = 30
	offIncarnation = 32
	offDigest      = 40
	offVersion     = 48
	offChunk       = 52
	offChunks      = 54
	header         = 56
	clientSize     = 20

	// chunkSize is how many clients one frame holds.
	chunkSize = (heartbeat.Size - heartbeat.Trailer - header) / clientSize
	// maxChunks bounds a list: it is more than the filter can hold.
	maxChunks = 1024
)

const (
	typeList    = 1
	typeRequest = 2
)

// Errors of Receive.
var (
	// ErrForeign: the frame is of another sender or of another cluster.
	ErrForeign = errors.New("not a list of clients of this cluster")
	// ErrMalformed: a field is out of its range, or the frame too short.
	ErrMalformed = errors.New("malformed list of clients")
)

// frame is one chunk of a list, or the request for the chunks from one on.
type frame struct {
	kind        uint8
	sender      uint8 // host ID
	owner       uint8 // of the list
	incarnation uint64
	version     uint32
	digest      uint64 // of the whole list
	chunk       int    // which one; in a request, the first that is missing
	chunks      int    // of the whole list
	clients     []Client
}

func (f *frame) appendTo(b []byte, s *Settings) []byte {
	start := len(b)
	b = append(b, make([]byte, heartbeat.Size)...)
	h, le := b[start:], binary.LittleEndian
	head := heartbeat.ReliableHeader{
		HostID: uint32(f.sender), ClusterIP: s.ClusterIP, HostIP: s.HostIP, ClusterKey: s.ClusterKey,
	}
	head.Put(h)
	h[offType], h[offOwner] = f.kind, f.owner
	le.PutUint16(h[offCount:], uint16(len(f.clients)))
	le.PutUint64(h[offIncarnation:], f.incarnation)
	le.PutUint64(h[offDigest:], f.digest)
	le.PutUint32(h[offVersion:], f.version)
	le.PutUint16(h[offChunk:], uint16(f.chunk))
	le.PutUint16(h[offChunks:], uint16(f.chunks))
	for i := range f.clients {
		entry := h[header+i*clientSize:]
		le.PutUint32(entry, f.clients[i].Rule)
		copy(entry[4:], f.clients[i].Addr[:])
	}
	return b
}

// parse takes any input without panicking. A payload may be padded at its end.
func parse(b []byte, clusterKey uint32) (frame, error) {
	var f frame
	le := binary.LittleEndian
	head, ok := heartbeat.ReliableHeaderOf(b)
	if !ok || head.ClusterKey != clusterKey {
		return f, ErrForeign
	}
	if len(b) < heartbeat.Size {
		return f, fmt.Errorf("%w: %d bytes", ErrMalformed, len(b))
	}
	sender := head.HostID
	f = frame{
		kind: b[offType], owner: b[offOwner], incarnation: le.Uint64(b[offIncarnation:]), version: le.Uint32(b[offVersion:]),
		digest: le.Uint64(b[offDigest:]), chunk: int(le.Uint16(b[offChunk:])), chunks: int(le.Uint16(b[offChunks:])),
	}
	if sender < 1 || sender > heartbeat.MaxHosts || f.owner < 1 || f.owner > heartbeat.MaxHosts {
		return f, fmt.Errorf("%w: sender %d, owner %d", ErrMalformed, sender, f.owner)
	}
	f.sender = uint8(sender)
	count := int(le.Uint16(b[offCount:]))
	if f.kind == typeRequest && count == 0 {
		return f, nil
	}
	if f.kind != typeList || f.owner != f.sender || f.version == 0 || f.chunks < 1 || f.chunks > maxChunks ||
		f.chunk >= f.chunks ||
		count < 1 || count > chunkSize {
		return f, fmt.Errorf("%w: type %d, chunk %d of %d, %d clients", ErrMalformed, f.kind, f.chunk, f.chunks, count)
	}
	for i := range count {
		entry := b[header+i*clientSize:]
		f.clients = append(f.clients, Client{Rule: le.Uint32(entry), Addr: [16]byte(entry[4:clientSize])})
	}
	return f, nil
}
