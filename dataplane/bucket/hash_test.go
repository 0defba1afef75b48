// SPDX-License-Identifier: Apache-2.0

package bucket

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// Fixed points: hosts of different releases must agree about a client's bucket, so a change
// of the hash is a break of the protocol between them.
func TestOfIsStable(t *testing.T) {
	for _, c := range []struct {
		client string
		port   uint16
		want   int
	}{
		{"0.0.0.0", 0, 13},
		{"10.0.0.1", 0, 13},
		{"10.0.0.1", 40000, 30},
		{"192.168.1.254", 65535, 23},
		{"fd00::1", 0, 27},
		{"2001:db8::abcd", 443, 55},
	} {
		if got := Of(netip.MustParseAddr(c.client), c.port); got != c.want {
			t.Errorf("Of(%s, %d) = %d, want %d", c.client, c.port, got, c.want)
		}
	}
}

func TestOfIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "address")
		if b := Of(netip.AddrFrom16([16]byte(raw)), rapid.Uint16().Draw(t, "port")); b < 0 || b >= Count {
			t.Fatalf("bucket %d", b)
		}
	})
}

func TestOfIPv4EqualsMapped(t *testing.T) {
	a := netip.MustParseAddr("10.1.2.3")
	if Of(a, 7) != Of(netip.AddrFrom16(a.As16()), 7) {
		t.Fatal("an IPv4 address and its IPv6-mapped form have different buckets")
	}
}

// Clients come in patterns, and the patterns have to spread: chi-square with 59 degrees of
// freedom exceeds 104 by chance once in 5000, and the inputs are fixed.
func TestOfSpreads(t *testing.T) {
	const clients, limit = 60 * 500, 104
	ip4 := func(n uint32) netip.Addr {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], n)
		return netip.AddrFrom4(a)
	}
	ip6 := func(hi, lo uint64) netip.Addr {
		var a [16]byte
		binary.BigEndian.PutUint64(a[:], hi)
		binary.BigEndian.PutUint64(a[8:], lo)
		return netip.AddrFrom16(a)
	}
	for name, of := range map[string]func(i int) int{
		"consecutive IPv4":         func(i int) int { return Of(ip4(0x0a000000+uint32(i)), 0) },
		"IPv4 networks of class C": func(i int) int { return Of(ip4(0x0a000000+uint32(i)<<8), 0) },
		"IPv4, same last octets":   func(i int) int { return Of(ip4(uint32(i)<<16|0x0001), 0) },
		"one IPv4, all ports":      func(i int) int { return Of(ip4(0x0a000001), uint16(1024+i)) },
		"one IPv4, even ports":     func(i int) int { return Of(ip4(0x0a000001), uint16(2*i)) },
		"consecutive IPv6":         func(i int) int { return Of(ip6(0xfd00<<48, uint64(i)), 0) },
		"IPv6 networks of /64":     func(i int) int { return Of(ip6(0x20010db8<<32+uint64(i), 0), 0) },
		"one IPv6, all ports":      func(i int) int { return Of(ip6(0xfd00<<48, 1), uint16(1024+i)) },
	} {
		var hits [Count]int
		for i := range clients {
			hits[of(i)]++
		}
		const expected = float64(clients) / Count
		chi := 0.0
		for _, n := range hits {
			chi += (float64(n) - expected) * (float64(n) - expected) / expected
		}
		t.Logf("%s: chi-square %.1f", name, chi)
		if chi > limit {
			t.Errorf("%s: chi-square %.1f, limit %d", name, chi, limit)
		}
	}
}
