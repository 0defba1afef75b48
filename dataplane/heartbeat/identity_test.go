// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func exampleIdentity(addr string) *Identity {
	return &Identity{
		ClusterIP: [4]byte{172, 18, 0, 100}, HostIP: [4]byte{172, 18, 0, 3}, HostID: 3, HostKey: 0x81828384,
		ClusterKey: 0x91929394,
		HostName:   "node-c", Addr: netip.MustParseAddr(addr), Virtual: true,
	}
}

// TestIdentityLayout fixes the wire form: hosts of different versions must understand each other.
func TestIdentityLayout(t *testing.T) {
	want := strings.Join([]string{
		"c001dec0", "04020000", "03000000", "ac120064", "ac120003", // header
		"01", "04", "0000", "84838281", "6e006f00640065002d006300", "0000", "000000000000", // host name
		"02", "02", "0100", "94939291", "0200", "ac120064", "0000", // address
	}, "")
	if got := hex.EncodeToString(exampleIdentity("172.18.0.100").AppendTo(nil)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestIdentityRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Identity{
			HostID: rapid.Uint8Range(1, MaxHosts).Draw(t, "id"), HostKey: rapid.Uint32Range(1, 1<<32-1).Draw(t, "host key"),
			ClusterKey: rapid.Uint32().Draw(t, "cluster key"), Virtual: rapid.Bool().Draw(t, "virtual"),
			HostName: rapid.StringMatching(`[a-z0-9.äπ😀-]{1,100}`).Draw(t, "name"),
			Addr:     netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "v4"))),
		}
		copy(want.ClusterIP[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "cluster IP"))
		copy(want.HostIP[:], rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "host IP"))
		if rapid.Bool().Draw(t, "IPv6") {
			want.Addr = netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v6")))
		}
		padding := make([]byte, rapid.IntRange(0, 40).Draw(t, "padding"))
		got, err := UnmarshalIdentity(append(want.AppendTo(nil), padding...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestLongHostNameIsCut(t *testing.T) {
	i := exampleIdentity("fd00::3")
	i.HostName = strings.Repeat("n", MaxHostName+1)
	got, err := UnmarshalIdentity(i.AppendTo(nil))
	if err != nil || got.HostName != strings.Repeat("n", MaxHostName) {
		t.Errorf("got %q, %v", got.HostName, err)
	}
}

func TestUnmarshalIdentityRejects(t *testing.T) {
	const nameAt, addressAt = commonHeader, commonHeader + entryHeader + 2*7 + nameTrailer
	set := func(offset int, b ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[offset:], b); return f }
	}
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		want   error
	}{
		{"empty", func([]byte) []byte { return nil }, ErrSize},
		{"membership heartbeat", set(0, 0xBF), ErrForeign},
		{"heartbeat of Windows", set(nameAt+4, 0, 0, 0, 0), ErrForeign},
		{"host ID 0", set(8, 0), ErrMalformed},
		{"host ID 33", set(8, 33), ErrMalformed},
		{"no entries", func(f []byte) []byte { return f[:commonHeader] }, ErrMalformed},
		{"address first", set(nameAt, typeAddress), ErrMalformed},
		{"empty name", set(nameAt+entryHeader, 0, 0), ErrMalformed},
		{"name that clears the screen", set(nameAt+entryHeader, 0x1B, 0), ErrMalformed},
		{"endless name", func(f []byte) []byte {
			return append(f[:nameAt+entryHeader], bytes.Repeat([]byte{'n', 0}, MaxHostName+1)...)
		}, ErrMalformed},
		{"name cut", func(f []byte) []byte { return f[:nameAt+entryHeader+3] }, ErrMalformed},
		{"no address", func(f []byte) []byte { return f[:addressAt] }, ErrMalformed},
		{"unknown role", set(addressAt+2, 2), ErrMalformed},
		{"unknown family", set(addressAt+entryHeader, 3), ErrMalformed},
		{"address cut", func(f []byte) []byte { return f[:addressAt+entryHeader+2+15] }, ErrMalformed},
	} {
		if _, err := UnmarshalIdentity(tc.change(exampleIdentity("fd00::3").AppendTo(nil))); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestKindOf(t *testing.T) {
	for want, payload := range map[Kind][]byte{
		KindMembership: example().AppendTo(nil), KindIdentity: exampleIdentity("fd00::3").AppendTo(nil),
		0: {0xBF, 0x01, 0xDE},
	} {
		if got := KindOf(payload); got != want {
			t.Errorf("got %#x, want %#x", uint32(got), uint32(want))
		}
	}
}

func FuzzUnmarshalIdentity(f *testing.F) {
	f.Add(exampleIdentity("172.18.0.100").AppendTo(nil))
	f.Add(exampleIdentity("fd00::3").AppendTo(nil))
	f.Add([]byte{0xC0, 0x01, 0xDE, 0xC0})
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := UnmarshalIdentity(b)
		if err != nil {
			return
		}
		again, err := UnmarshalIdentity(i.AppendTo(nil))
		if err != nil || again != i {
			t.Errorf("does not survive a round trip: %v, %+v and %+v", err, i, again)
		}
	})
}
