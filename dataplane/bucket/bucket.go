// SPDX-License-Identifier: Apache-2.0

// Package bucket holds the two notions that every part of the dataplane shares:
// the hash class of a client (bucket) and the set of buckets of one slot (Map).
package bucket

import (
	"fmt"
	"math/bits"
)

// Count is the number of buckets. The ETW provider of NLB logs a bucket as u8 and a
// bucket map as 64-bit; 60 divides evenly by 1 to 6, 10, 12, 15, 20 and 30 hosts.
const Count = 60

// Slots of port rules: Slots-1 for rules and DefaultSlot for ports that no rule covers.
// MS-NLB heartbeats have 33 entries in each table.
const (
	Slots       = 33
	DefaultSlot = 32
)

// Map is a set of buckets: bit b is set where bucket b is in the set.
type Map uint64

// All is the set of all buckets.
const All Map = 1<<Count - 1

// Has reports whether bucket b is in the set.
func (m Map) Has(b int) bool { return m>>uint(b)&1 == 1 }

// With returns the set with bucket b added.
func (m Map) With(b int) Map { return m | 1<<uint(b) }

// Len returns the number of buckets in the set.
func (m Map) Len() int { return bits.OnesCount64(uint64(m)) }

// Minus returns the buckets of m that are not in o.
func (m Map) Minus(o Map) Map { return m &^ o }

// String returns the set in hexadecimal, as wide as a full one.
func (m Map) String() string { return fmt.Sprintf("%015x", uint64(m)) }

// Table holds one bucket set per slot.
type Table [Slots]Map
