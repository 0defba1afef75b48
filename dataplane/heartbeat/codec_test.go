// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// example returns a message in which every field differs from every other.
func example() *Message {
	m := &Message{
		ClusterIP: [4]byte{172, 18, 0, 100}, HostIP: [4]byte{172, 18, 0, 3}, HostID: 3, DefaultHost: 1, Phase: PhaseConverged,
		RuleCount: 2, HostCode: 0x01020304, PacketsHandled: 0x11121314, Teaming: 0,
		Extension: Extension{
			State: 3, Flags: Serving | Acked | Draining, Incarnation: 0x2122232425262728, Sequence: 0x3132333435363738,
			Heard: SetOf(1, 2), View: SetOf(1, 2, 3), Committed: Round{Number: 7, Leader: 1}, Round: Round{Number: 8, Leader: 2},
			RoundView: SetOf(1, 3), RoundInputs: 0x4142434445464748, RoundResult: 0x51525354, Leader: 4, Cause: 5, Highest: 9,
			InForce: 0x6162636465666768, Offered: 0x7172737475767778, OfferedGeneration: 10, TimeoutMillis: 1000,
			HoldMillis: 2000, HoldsHeard: SetOf(32), HostKey: 0x81828384, ClusterKey: 0x91929394, SYNs: 0xA1A2A3A4,
			Handshakes: 0xB1B2B3B4, StallReason: 6,
		},
	}
	for i := range bucket.Slots {
		m.Rules[i] = NewRule(uint8(i%4), RuleState(i%3), uint8(i), uint64(i))
		m.Current[i] = bucket.Map(1)<<uint(i) | 1<<59
		m.New[i] = bucket.Map(2) << uint(i)
		m.Idle[i] = bucket.All.Minus(m.Current[i])
		m.Ready[i] = bucket.Map(4) << uint(i)
		m.Weights[i] = uint32(50 + i)
	}
	return m
}

func TestGolden(t *testing.T) {
	file := filepath.Join("testdata", "heartbeat.bin")
	got := example().AppendTo(nil)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the wire form changed; hosts of both versions must understand each other: %s", cmp.Diff(want, got))
	}
	decoded, err := Unmarshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*example(), decoded); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
}

// TestLayout compares offsets with the dissector's, which Microsoft's hosts set.
func TestLayout(t *testing.T) {
	b := example().AppendTo(nil)
	for _, tc := range []struct {
		name   string
		offset int
		want   []byte
	}{
		{"signature", 0, []byte{0xBF, 0x01, 0xDE, 0xC0}},
		{"version", 4, []byte{0x04, 0x02, 0, 0}},
		{"host priority", 8, []byte{3, 0, 0, 0}},
		{"cluster IP", 12, []byte{172, 18, 0, 100}},
		{"host IP", 16, []byte{172, 18, 0, 3}},
		{"host ID", 20, []byte{3, 0}},
		{"default host", 22, []byte{1, 0}},
		{"number of rules", 26, []byte{2, 0}},
		{"host code", 28, []byte{4, 3, 2, 1}},
		{"packets handled", 32, []byte{0x14, 0x13, 0x12, 0x11}},
		{"first current map", 176, []byte{1, 0, 0, 0, 0, 0, 0, 8}},
		{"last load weight", 1360, []byte{82, 0, 0, 0}},
		{"extension", 1364, []byte("KWLB\x01")},
		{"unused", 1480, make([]byte, 16)},
	} {
		if got := b[tc.offset : tc.offset+len(tc.want)]; !bytes.Equal(got, tc.want) {
			t.Errorf("%s at %d: got % x, want % x", tc.name, tc.offset, got, tc.want)
		}
	}
	if len(b) != Size {
		t.Errorf("%d bytes, want %d", len(b), Size)
	}
}

func TestUnmarshalRejects(t *testing.T) {
	set := func(offset int, b ...byte) func([]byte) []byte {
		return func(f []byte) []byte { copy(f[offset:], b); return f }
	}
	for _, tc := range []struct {
		name   string
		change func([]byte) []byte
		want   error
	}{
		{"empty", func([]byte) []byte { return nil }, ErrSize},
		{"one byte short", func(f []byte) []byte { return f[:Size-1] }, ErrSize},
		{"identity heartbeat", set(0, 0xC0), ErrForeign},
		{"heartbeat of Windows", set(1364, 0, 0, 0, 0), ErrForeign},
		{"later extension", set(1368, 2), ErrVersion},
		{"host ID 0", set(8, 0), ErrMalformed},
		{"host ID 33", set(8, 33), ErrMalformed},
		{"host IDs differ", set(20, 4), ErrMalformed},
		{"default host 33", set(22, 33), ErrMalformed},
		{"leader 33", set(1364+37, 33), ErrMalformed},
		{"bucket 60", set(176+7, 0x10), ErrMalformed},
	} {
		if _, err := Unmarshal(tc.change(example().AppendTo(nil))); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := Unmarshal(append(example().AppendTo(nil), 1, 2, 3)); err != nil {
		t.Errorf("padded frame: %v", err)
	}
}

func TestRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mode, state := rapid.Uint8Range(0, 3).Draw(t, "mode"), RuleState(rapid.Uint8Range(0, 2).Draw(t, "state"))
		priority, digest := rapid.Uint8Range(0, 63).Draw(t, "priority"), rapid.Uint64().Draw(t, "digest")
		r := NewRule(mode, state, priority, digest)
		if r.Mode() != mode || r.State() != state || r.Priority() != priority || uint64(r)&(1<<22-1) != digest&(1<<22-1) {
			t.Errorf("%08x: %d %d %d", uint32(r), r.Mode(), r.State(), r.Priority())
		}
	})
}

func TestRoundOrder(t *testing.T) {
	ordered := []Round{{}, {0, 1}, {1, 1}, {1, 2}, {2, 1}}
	for i, a := range ordered {
		for j, b := range ordered {
			if a.After(b) != (i > j) {
				t.Errorf("%v after %v: %v", a, b, a.After(b))
			}
		}
	}
}

func TestSet(t *testing.T) {
	s := SetOf(1, 32)
	if !s.Has(1) || !s.Has(32) || s.Has(2) || s.Has(0) || s.Without(32) != SetOf(1) {
		t.Errorf("got %032b", s)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(example().AppendTo(nil))
	f.Add([]byte{0xBF, 0x01, 0xDE, 0xC0})
	f.Add(make([]byte, Size))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Unmarshal(b)
		if err != nil {
			return
		}
		again, err := Unmarshal(m.AppendTo(nil))
		if err != nil || again != m {
			t.Errorf("does not survive a round trip: %v", err)
		}
	})
}

func BenchmarkUnmarshal(b *testing.B) {
	frame := example().AppendTo(nil)
	for b.Loop() {
		if _, err := Unmarshal(frame); err != nil {
			b.Fatal(err)
		}
	}
}
