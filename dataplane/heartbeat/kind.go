// SPDX-License-Identifier: Apache-2.0

package heartbeat

import "encoding/binary"

// Kind is what a frame of EtherType is: its signature, the first four bytes.
type Kind uint32

// The kinds of frames.
const (
	// KindMembership is a heartbeat proper: Message.
	KindMembership Kind = 0xC0DE01BF
	// KindIdentity is what NLB calls an extended heartbeat: Identity.
	KindIdentity Kind = 0xC0DE01C0
	// KindReliable is what Wireshark calls the NLB Reliable Protocol. What NLB puts into it is not public; here it carries
	// lists of clients, see package sticky.
	KindReliable Kind = 0xC0DE01DE
)

// KindOf returns the kind of a payload, 0 where it is too short to have one. The rest of the payload may be anything.
func KindOf(payload []byte) Kind {
	if len(payload) < 4 {
		return 0
	}
	return Kind(binary.LittleEndian.Uint32(payload))
}
