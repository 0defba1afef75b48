// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"encoding/hex"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// frames returns one frame of each kind of the same cluster.
func frames(c Cluster) map[string][]byte {
	m := example()
	m.ClusterIP, m.ClusterKey = c.IP, c.Key
	i := exampleIdentity("172.18.0.100")
	i.ClusterIP, i.ClusterKey = c.IP, c.Key
	list := make([]byte, Size)
	(&ReliableHeader{ClusterIP: c.IP, HostID: 3, ClusterKey: c.Key}).Put(list)
	return map[string][]byte{"membership": m.AppendTo(nil), "identity": i.AppendTo(nil), "reliable": list}
}

func TestClusterOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Cluster{Key: rapid.Uint32().Draw(t, "key")}
		copy(want.IP[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "IP"))
		for kind, payload := range frames(want) {
			padded := slices.Concat(payload, make([]byte, rapid.IntRange(0, 40).Draw(t, "padding")))
			if got, ok := ClusterOf(padded); !ok || got != want {
				t.Errorf("%s: %v, %t, want %v", kind, got, ok, want)
			}
		}
	})
}

func TestClusterOfRejects(t *testing.T) {
	c := Cluster{IP: [4]byte{10, 0, 0, 1}, Key: 0x91929394}
	for kind, payload := range frames(c) {
		for cut := range payload {
			if got, ok := ClusterOf(payload[:cut]); ok && got != c {
				t.Errorf("%s cut to %d bytes: %v", kind, cut, got)
			}
		}
	}
	windows := frames(c)
	clear(windows["membership"][offExtension:])
	clear(windows["reliable"][offReliableMagic:])
	clear(windows["identity"][commonHeader+4 : commonHeader+8])
	for kind, payload := range windows {
		if got, ok := ClusterOf(payload); ok {
			t.Errorf("%s of a Windows host: %v", kind, got)
		}
	}
	if got, ok := ClusterOf(make([]byte, Size)); ok {
		t.Errorf("no signature: %v", got)
	}
}

// TestReliableHeaderLayout fixes the wire form: hosts of different versions must understand each other.
func TestReliableHeaderLayout(t *testing.T) {
	h := ReliableHeader{ClusterIP: [4]byte{172, 18, 0, 100}, HostIP: [4]byte{172, 18, 0, 3}, HostID: 3,
		ClusterKey: 0x91929394}
	b := make([]byte, ReliableHeaderSize)
	h.Put(b)
	want := "de01dec0" + "04020000" + "03000000" + "ac120064" + "ac120003" + "4b574c53" + "94939291"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got, ok := ReliableHeaderOf(b); !ok || got != h {
		t.Errorf("read back as %+v, %t", got, ok)
	}
}

func FuzzClusterOf(f *testing.F) {
	for _, payload := range frames(Cluster{IP: [4]byte{10, 0, 0, 1}, Key: 7}) {
		f.Add(payload)
	}
	f.Fuzz(func(_ *testing.T, payload []byte) { ClusterOf(payload) })
}

func BenchmarkClusterOf(b *testing.B) {
	payload := frames(Cluster{IP: [4]byte{10, 0, 0, 1}, Key: 7})["membership"]
	b.ReportAllocs()
	for b.Loop() {
		ClusterOf(payload)
	}
}
