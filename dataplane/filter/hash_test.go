// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

const bucketBits = 6 // 60 buckets

// bitTable gives the filter's bucket of a client away: the slot of port k accepts buckets
// whose number has bit k set.
func bitTable(affinity Affinity) Table {
	t := Table{VIPs: []netip.Addr{vip4, vip6}}
	for k := range bucketBits {
		port := uint16(k)
		t.Rules = append(t.Rules, Rule{From: port, To: port, TCP: true, UDP: true, Slot: uint8(k)})
		t.Slots[k] = Slot{Affinity: affinity}
		for b := range bucket.Count {
			if b>>k&1 == 1 {
				t.Slots[k].Own = t.Slots[k].Own.With(b)
			}
		}
	}
	return t
}

func (r *rig) bucket(src netip.Addr, sport uint16) int {
	r.t.Helper()
	dst := vip4
	if src.Is6() {
		dst = vip6
	}
	b := 0
	for k := range bucketBits {
		p := packetSpec{src: src, dst: dst, sport: sport, dport: uint16(k), protocol: udpProtocol}
		if r.run(r.objects.WlbsXdp, p.bytes()) == xdpPass {
			b |= 1 << k
		}
	}
	return b
}

func randomClient(random *rand.Rand) netip.AddrPort {
	port := uint16(random.Uint32())
	if random.IntN(2) == 0 {
		a := [4]byte{byte(1 + random.IntN(126)), byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())}
		return netip.AddrPortFrom(netip.AddrFrom4(a), port)
	}
	a := [16]byte{0x20}
	for i := range a[1:] {
		a[1+i] = byte(random.Uint32())
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a), port)
}

// The hash exists twice. Here the one in C, in the program that serves traffic, is asked
// for the bucket of random clients, and has to agree with the one in Go.
func TestBucketMatchesProgram(t *testing.T) {
	for name, affinity := range map[string]Affinity{"None": AffinityNone, "Single": AffinitySingle, "Network": AffinityNetwork} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, XDP)
			r.apply(bitTable(affinity))
			random := rand.New(rand.NewPCG(1, uint64(affinity)))
			for range 2000 {
				client := randomClient(random)
				want := (&Slot{Affinity: affinity}).Bucket(client)
				if got := r.bucket(client.Addr(), client.Port()); got != want {
					t.Fatalf("client %s: the program's bucket is %d, Go's is %d", client, got, want)
				}
			}
		})
	}
}
