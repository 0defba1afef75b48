// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"math/bits"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// digest is a running 64-bit hash. It is part of the protocol: all hosts of a cluster must compute
// the same.
type digest uint64

const digestSeed digest = 0x9E3779B97F4A7C15

// add mixes v in by a folded 64x64 bit multiplication.
func (d digest) add(v uint64) digest {
	hi, lo := bits.Mul64(uint64(d)^v^0xA0761D6478BD642F, bits.RotateLeft64(v, 32)^0xE7037ED1A0B428DB)
	return digest(hi ^ lo ^ bits.RotateLeft64(uint64(d), 23))
}

// memberDigest caches what a heartbeat contributes to the inputs of an assignment.
type memberDigest struct {
	valid bool
	// config covers the parameters of a host: a change of it starts a round.
	config uint64
	// inputs covers config and what the host owns.
	inputs uint64
}

// of returns the digest of msg, computing it at most once.
func (c *memberDigest) of(msg *heartbeat.Message) *memberDigest {
	if c.valid {
		return c
	}
	d := digestSeed.add(uint64(msg.HostID)<<32 | uint64(msg.HostKey)).add(msg.Incarnation)
	d = d.add(uint64(msg.Flags & (heartbeat.Draining | heartbeat.Evict))).add(advertisedDigest(msg))
	for i := range bucket.Slots {
		d = d.add(uint64(msg.Rules[i])<<32 | uint64(msg.Weights[i]))
	}
	c.config = uint64(d)
	d = d.add(uint64(msg.Flags&heartbeat.Serving)<<48 | uint64(msg.Committed.Leader)<<32 | uint64(msg.Committed.Number))
	for i := range bucket.Slots {
		if msg.Current[i] != 0 {
			d = d.add(uint64(i)).add(uint64(msg.Current[i]))
		}
	}
	c.inputs = uint64(d)
	c.valid = true
	return c
}
