// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/fnv"
)

// Client is a client of one rule.
type Client struct {
	// Rule is the rule's key, the same on all hosts whatever its place among the rules. Not 0.
	Rule uint32
	// Addr is the client's address, masked by the rule's affinity; IPv4 in its IPv6-mapped form.
	Addr [16]byte
}

func compare(a, b Client) int {
	return cmp.Or(cmp.Compare(a.Rule, b.Rule), bytes.Compare(a.Addr[:], b.Addr[:]))
}

// digest stands for the content of a sorted list.
func digest(clients []Client) uint64 {
	h := fnv.New64a()
	var rule [4]byte
	for i := range clients {
		binary.LittleEndian.PutUint32(rule[:], clients[i].Rule)
		_, _ = h.Write(rule[:]) // a hash takes everything
		_, _ = h.Write(clients[i].Addr[:])
	}
	return h.Sum64()
}

// Held are the clients that stay with a host.
type Held struct {
	// Own are those in buckets that are the host's anyway, Away those in others.
	Own, Away []Client
}
