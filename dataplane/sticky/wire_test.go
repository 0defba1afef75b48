// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// The tests in this file fix what hosts of different versions must agree on: see docs/design/wire.md.

func TestGoldenFrames(t *testing.T) {
	settings := Settings{HostID: 3, ClusterKey: 0x91929394, Incarnation: 0x2122232425262728,
		ClusterIP: [4]byte{172, 18, 0, 100}, HostIP: [4]byte{172, 18, 0, 3}, Version: 4}
	list, asking := New(settings), New(settings)
	list.Publish([]Client{{Rule: 0x01020304, Addr: [16]byte{15: 1}},
		{Rule: 0x01020304, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 9}}})
	asking.Follow([]Peer{{HostID: 2, Incarnation: 0x31, Version: 5}})
	for name, test := range map[string]struct {
		frames    [][]byte
		head, sum string
	}{
		"list": {list.Send(0), "de01dec00402000003000000ac120064ac1200034b574c5394939291" +
			"0103020028272625242322213101182077845d730500000000000100" +
			"04030201000000000000000000000000000000010403020100000000000000000000ffff0a000009", "da302a754e2d1fb3"},
		"request": {asking.Send(0), "de01dec00402000003000000ac120064ac1200034b574c5394939291" +
			"020200003100000000000000000000000000000005", "e1d6baeaee9ec843"},
	} {
		if len(test.frames) != 1 {
			t.Fatalf("%s: %d frames", name, len(test.frames))
		}
		sum := sha256.Sum256(test.frames[0])
		if got := hex.EncodeToString(test.frames[0][:len(test.head)/2]); got != test.head {
			t.Errorf("%s begins with\n%s, want\n%s", name, got, test.head)
		}
		if got := hex.EncodeToString(sum[:8]); got != test.sum {
			t.Errorf("%s has the hash %s, want %s", name, got, test.sum)
		}
	}
}
