// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// MaxVIPs is how many virtual IPs one cluster can have.
const MaxVIPs = 255

// Mode is how the hosts share the traffic of a slot (WLBS: filtering mode).
type Mode uint8

const (
	// ModeMultiple spreads clients over the hosts by bucket.
	ModeMultiple Mode = iota
	// ModeSingle gives all buckets to one host; the hash still runs, the affinity does not matter.
	ModeSingle
	// ModeDisabled lets nothing in, not even tracked connections.
	ModeDisabled
)

// Affinity is what of the client goes into the hash.
type Affinity uint8

const (
	// AffinityNone hashes address and port.
	AffinityNone Affinity = iota
	// AffinitySingle hashes the address.
	AffinitySingle
	// AffinityNetwork hashes the address's network: IPv4 /24 (class C of WLBS), IPv6 /64.
	AffinityNetwork
)

// Slot is one policy and what this host may do under it.
type Slot struct {
	Filter   Mode
	Affinity Affinity
	// Own are the buckets whose new connections this host accepts.
	Own bucket.Map
	// Busy are those of them in which a live peer still has connections: there a TCP
	// segment is accepted only if its connection is tracked here.
	Busy bucket.Map
	// Sticky is the key of the rule's extended affinity, 0 without: clients stay with this host for StickyFor after their
	// last connection, when their buckets do not. Needs ModeMultiple, an affinity by address, and a key of its own.
	Sticky    uint32
	StickyFor time.Duration
}

// Rule maps the ports From to To, both included, to a slot.
type Rule struct {
	// VIP is the virtual IP the rule is for; the zero Addr is all of them. A rule for one
	// VIP goes before a rule for all, and a later rule before an earlier one of its kind.
	VIP      netip.Addr
	From, To uint16
	TCP, UDP bool
	Slot     uint8
}

// Table is all that decides about a packet. Ports that no rule covers are in
// bucket.DefaultSlot.
type Table struct {
	Epoch uint64
	VIPs  []netip.Addr
	Rules []Rule
	Slots [bucket.Slots]Slot
}

// Validate reports everything in t that no filter can do.
func (t *Table) Validate() error {
	var errs []error
	if len(t.VIPs) > MaxVIPs {
		errs = append(errs, fmt.Errorf("%d virtual IPs, at most %d", len(t.VIPs), MaxVIPs))
	}
	known := make(map[netip.Addr]bool, len(t.VIPs))
	for _, vip := range t.VIPs {
		switch v := vip.Unmap(); {
		case !v.IsValid() || v.IsUnspecified() || v.IsMulticast() || v.Zone() != "":
			errs = append(errs, fmt.Errorf("virtual IP %s: not a unicast address", vip))
		case known[v]:
			errs = append(errs, fmt.Errorf("virtual IP %s: listed twice", vip))
		default:
			known[v] = true
		}
	}
	for i, r := range t.Rules {
		if r.From > r.To {
			errs = append(errs, fmt.Errorf("rule %d: ports %d to %d", i, r.From, r.To))
		}
		if r.Slot >= bucket.Slots {
			errs = append(errs, fmt.Errorf("rule %d: slot %d, at most %d", i, r.Slot, bucket.Slots-1))
		}
		if r.VIP.IsValid() && !known[r.VIP.Unmap()] {
			errs = append(errs, fmt.Errorf("rule %d: %s is no virtual IP", i, r.VIP))
		}
	}
	rules := map[uint32]bool{}
	for i := range t.Slots {
		s := &t.Slots[i]
		if s.Sticky != 0 && (s.Affinity == AffinityNone || rules[s.Sticky]) {
			errs = append(errs, fmt.Errorf("slot %d: extended affinity with affinity %d, key %08x", i, s.Affinity, s.Sticky))
		}
		rules[s.Sticky] = true
		if s.Filter > ModeDisabled || s.Affinity > AffinityNetwork {
			errs = append(errs, fmt.Errorf("slot %d: mode %d, affinity %d", i, s.Filter, s.Affinity))
		}
		if (s.Own|s.Busy)&^bucket.All != 0 {
			errs = append(errs, fmt.Errorf("slot %d: no bucket beyond %d", i, bucket.Count-1))
		}
	}
	return errors.Join(errs...)
}

// Bucket returns the bucket of a client's TCP or UDP connection in the slot.
func (s *Slot) Bucket(client netip.AddrPort) int {
	port := client.Port()
	if s.Affinity != AffinityNone {
		port = 0
	}
	return bucket.Of(s.masked(client.Addr().Unmap()), port)
}

// masked returns the part of a client's address that the affinity regards.
func (s *Slot) masked(addr netip.Addr) netip.Addr {
	switch {
	case s.Affinity != AffinityNetwork:
		return addr
	case addr.Is4():
		return masked(addr, 24)
	default:
		return masked(addr, 64)
	}
}

func masked(addr netip.Addr, bits int) netip.Addr {
	p, err := addr.Prefix(bits)
	if err != nil {
		return addr // an address without a zone has a prefix of 24 (IPv4) or 64 (IPv6) bits
	}
	return p.Addr()
}
