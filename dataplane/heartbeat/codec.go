// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Offsets in the head that frames of all kinds have: signature, version, host ID, cluster IP, host IP.
const (
	offHostID    = 8
	offClusterIP = 12
	offHostIP    = 16
	commonHeader = 20
)

// Offsets in the payload, as tshark 4.0.17 decodes them.
const (
	offRules     = 44
	offCurrent   = 176
	offNew       = 440
	offIdle      = 704
	offReady     = 968
	offWeights   = 1232
	offExtension = 1364
	offTrailer   = Size - Trailer
)

const (
	extensionMagic   = 0x424C574B // "KWLB" on the wire
	extensionVersion = 1
	// extensionClusterKey is the offset of the cluster key in the extension.
	extensionClusterKey = 100
)

// Errors of Unmarshal.
var (
	// ErrSize: the payload is shorter than a heartbeat.
	ErrSize = errors.New("payload is too short for a heartbeat")
	// ErrForeign: the payload is no heartbeat of kube-wlbs, for instance one of Windows hosts or of an Xbox adapter.
	ErrForeign = errors.New("not a heartbeat of kube-wlbs")
	// ErrVersion: the sender speaks a later version of the extension.
	ErrVersion = errors.New("unknown version of the heartbeat extension")
	// ErrMalformed: a field is out of its range.
	ErrMalformed = errors.New("malformed heartbeat")
)

// AppendTo appends the wire form to b: Size bytes. The Trailer is zero.
func (m *Message) AppendTo(b []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, Size)...)
	m.put(b[start:])
	return b
}

func (m *Message) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], uint32(KindMembership))
	le.PutUint32(b[4:], Version)
	le.PutUint32(b[offHostID:], uint32(m.HostID))
	copy(b[offClusterIP:], m.ClusterIP[:])
	copy(b[offHostIP:], m.HostIP[:])
	le.PutUint16(b[20:], uint16(m.HostID))
	le.PutUint16(b[22:], uint16(m.DefaultHost))
	le.PutUint16(b[24:], uint16(m.Phase))
	le.PutUint16(b[26:], m.RuleCount)
	le.PutUint32(b[28:], m.HostCode)
	le.PutUint32(b[32:], m.PacketsHandled)
	le.PutUint32(b[36:], m.Teaming)
	for i := range bucket.Slots {
		le.PutUint32(b[offRules+4*i:], uint32(m.Rules[i]))
		le.PutUint64(b[offCurrent+8*i:], uint64(m.Current[i]))
		le.PutUint64(b[offNew+8*i:], uint64(m.New[i]))
		le.PutUint64(b[offIdle+8*i:], uint64(m.Idle[i]))
		le.PutUint64(b[offReady+8*i:], uint64(m.Ready[i]))
		le.PutUint32(b[offWeights+4*i:], m.Weights[i])
	}
	m.Extension.put(b[offExtension:offTrailer])
}

func (e *Extension) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], extensionMagic)
	b[4], b[5] = extensionVersion, e.State
	le.PutUint16(b[6:], uint16(e.Flags))
	le.PutUint64(b[8:], e.Incarnation)
	le.PutUint64(b[16:], e.Sequence)
	le.PutUint32(b[24:], uint32(e.Heard))
	le.PutUint32(b[28:], uint32(e.View))
	le.PutUint32(b[32:], e.Committed.Number)
	b[36], b[37], b[38], b[39] = e.Committed.Leader, e.Round.Leader, e.Cause, e.StallReason
	le.PutUint32(b[40:], e.Round.Number)
	le.PutUint32(b[44:], uint32(e.RoundView))
	le.PutUint64(b[48:], e.RoundInputs)
	le.PutUint32(b[56:], e.RoundResult)
	le.PutUint32(b[60:], e.Highest)
	le.PutUint64(b[64:], e.InForce)
	le.PutUint64(b[72:], e.Offered)
	le.PutUint32(b[80:], e.OfferedGeneration)
	le.PutUint32(b[84:], e.TimeoutMillis)
	le.PutUint32(b[88:], e.HoldMillis)
	le.PutUint32(b[92:], uint32(e.HoldsHeard))
	le.PutUint32(b[96:], e.HostKey)
	le.PutUint32(b[extensionClusterKey:], e.ClusterKey)
	le.PutUint32(b[104:], e.SYNs)
	le.PutUint32(b[108:], e.Handshakes)
	b[112] = e.Leader
	b[113], b[114], b[115] = byte(e.ClientsVersion), byte(e.ClientsVersion>>8), byte(e.ClientsVersion>>16)
}

// Unmarshal decodes a payload, which may be padded at its end. It accepts every payload that AppendTo can make, takes
// any input without panicking. Senders are not authenticated.
func Unmarshal(b []byte) (Message, error) {
	var m Message
	if len(b) < Size {
		return m, fmt.Errorf("%w: %d bytes of %d", ErrSize, len(b), Size)
	}
	b = b[:Size]
	le := binary.LittleEndian
	if KindOf(b) != KindMembership || le.Uint32(b[offExtension:]) != extensionMagic {
		return m, ErrForeign
	}
	if v := b[offExtension+4]; v != extensionVersion {
		return m, fmt.Errorf("%w: %d", ErrVersion, v)
	}
	if id := le.Uint32(b[offHostID:]); id < 1 || id > MaxHosts || uint32(le.Uint16(b[20:])) != id ||
		le.Uint16(b[22:]) > MaxHosts {
		return m, fmt.Errorf("%w: host ID %d", ErrMalformed, id)
	}
	m.get(b)
	return m, m.validate()
}

func (m *Message) get(b []byte) {
	le := binary.LittleEndian
	m.HostID = uint8(le.Uint32(b[offHostID:]))
	copy(m.ClusterIP[:], b[offClusterIP:])
	copy(m.HostIP[:], b[offHostIP:])
	m.DefaultHost = uint8(le.Uint16(b[22:]))
	m.Phase = Phase(le.Uint16(b[24:]))
	m.RuleCount = le.Uint16(b[26:])
	m.HostCode = le.Uint32(b[28:])
	m.PacketsHandled = le.Uint32(b[32:])
	m.Teaming = le.Uint32(b[36:])
	for i := range bucket.Slots {
		m.Rules[i] = Rule(le.Uint32(b[offRules+4*i:]))
		m.Current[i] = bucket.Map(le.Uint64(b[offCurrent+8*i:]))
		m.New[i] = bucket.Map(le.Uint64(b[offNew+8*i:]))
		m.Idle[i] = bucket.Map(le.Uint64(b[offIdle+8*i:]))
		m.Ready[i] = bucket.Map(le.Uint64(b[offReady+8*i:]))
		m.Weights[i] = le.Uint32(b[offWeights+4*i:])
	}
	m.Extension.get(b[offExtension:offTrailer])
}

func (e *Extension) get(b []byte) {
	le := binary.LittleEndian
	e.State = b[5]
	e.Flags = Flags(le.Uint16(b[6:]))
	e.Incarnation = le.Uint64(b[8:])
	e.Sequence = le.Uint64(b[16:])
	e.Heard = Set(le.Uint32(b[24:]))
	e.View = Set(le.Uint32(b[28:]))
	e.Committed = Round{Number: le.Uint32(b[32:]), Leader: b[36]}
	e.Round = Round{Number: le.Uint32(b[40:]), Leader: b[37]}
	e.Cause, e.StallReason = b[38], b[39]
	e.RoundView = Set(le.Uint32(b[44:]))
	e.RoundInputs = le.Uint64(b[48:])
	e.RoundResult = le.Uint32(b[56:])
	e.Highest = le.Uint32(b[60:])
	e.InForce = le.Uint64(b[64:])
	e.Offered = le.Uint64(b[72:])
	e.OfferedGeneration = le.Uint32(b[80:])
	e.TimeoutMillis = le.Uint32(b[84:])
	e.HoldMillis = le.Uint32(b[88:])
	e.HoldsHeard = Set(le.Uint32(b[92:]))
	e.HostKey = le.Uint32(b[96:])
	e.ClusterKey = le.Uint32(b[extensionClusterKey:])
	e.SYNs = le.Uint32(b[104:])
	e.Handshakes = le.Uint32(b[108:])
	e.Leader = b[112]
	e.ClientsVersion = uint32(b[113]) | uint32(b[114])<<8 | uint32(b[115])<<16
}

// validate rejects values that no sender of this version writes.
func (m *Message) validate() error {
	if m.Committed.Leader > MaxHosts || m.Round.Leader > MaxHosts || m.Leader > MaxHosts {
		return fmt.Errorf("%w: leader %d, %d or %d", ErrMalformed, m.Committed.Leader, m.Round.Leader, m.Leader)
	}
	for i := range bucket.Slots {
		if (m.Current[i] | m.New[i] | m.Idle[i] | m.Ready[i]).Minus(bucket.All) != 0 {
			return fmt.Errorf("%w: bucket out of range in slot %d", ErrMalformed, i)
		}
	}
	return nil
}
