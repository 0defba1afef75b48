// SPDX-License-Identifier: Apache-2.0

package heartbeat

import "testing"

// Numbers on the wire, which hosts of different versions share: see docs/design/wire.md. What is added gets a number of
// its own.
func TestGoldenNumbers(t *testing.T) {
	for _, n := range []struct {
		name      string
		got, want uint64
	}{
		{"EtherType", EtherType, 0x886f},
		{"size", Size, 1496},
		{"version", Version, 0x0204},
		{"magic of the extension", extensionMagic, 0x424c574b},
		{"version of the extension", extensionVersion, 1},
		{"membership heartbeat", uint64(KindMembership), 0xc0de01bf},
		{"extended heartbeat", uint64(KindIdentity), 0xc0de01c0},
		{"list of clients", uint64(KindReliable), 0xc0de01de},
		{"phase converging", uint64(PhaseConverging), 1},
		{"phase converged", uint64(PhaseConverged), 2},
		{"rule enabled", uint64(Enabled), 0},
		{"rule drained", uint64(Drained), 1},
		{"rule disabled", uint64(Disabled), 2},
		{"Serving", uint64(Serving), 1 << 0},
		{"Following", uint64(Following), 1 << 1},
		{"Acked", uint64(Acked), 1 << 2},
		{"Yielded", uint64(Yielded), 1 << 3},
		{"Leaving", uint64(Leaving), 1 << 4},
		{"Left", uint64(Left), 1 << 5},
		{"Conflicted", uint64(Conflicted), 1 << 6},
		{"TablesOffered", uint64(TablesOffered), 1 << 7},
		{"Draining", uint64(Draining), 1 << 8},
		{"Evict", uint64(Evict), 1 << 9},
		{"Clashing", uint64(Clashing), 1 << 10},
	} {
		if n.got != n.want {
			t.Errorf("%s is %#x, want %#x", n.name, n.got, n.want)
		}
	}
}
