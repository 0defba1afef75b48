// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"encoding/binary"
	"net/netip"
)

// Of returns the bucket, 0 to Count-1, of a client. port is 0 where the affinity leaves it
// out; mask the address before where the affinity is by network.
//
// It is the twin of bucket_of in the filter's hash.h, which runs for every packet: change
// both, and every host of a cluster at once, or hosts disagree about who owns a client.
func Of(client netip.Addr, port uint16) int {
	a := client.As16()
	x := binary.LittleEndian.Uint64(a[8:]) ^ binary.LittleEndian.Uint64(a[:8])*0x9e3779b97f4a7c15
	x += uint64(port) * 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return int((x >> 32) * Count >> 32)
}
