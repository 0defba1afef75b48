// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// TestWiresharkTakesLists has tshark look at a list and at a request for one: it must know the protocol and complain
// about nothing.
func TestWiresharkTakesLists(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is not installed")
		}
		t.Skip("tshark is not installed")
	}
	settings := Settings{HostID: 3, ClusterKey: 7, Incarnation: 9, ClusterIP: [4]byte{172, 18, 0, 100},
		HostIP: [4]byte{172, 18, 0, 3}}
	list, asking := New(settings), New(settings)
	list.Publish([]Client{someClient(1), someClient(2)})
	asking.Follow([]Peer{{HostID: 2, Incarnation: 1, Version: 5}})
	for name, frames := range map[string][][]byte{"list": list.Send(0), "request": asking.Send(0)} {
		if len(frames) != 1 {
			t.Fatalf("%s: %d frames", name, len(frames))
		}
		file := filepath.Join(t.TempDir(), "list.pcap")
		if err := os.WriteFile(file, capture(frames[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(tshark, "-r", file, "-T", "fields", "-E", "separator=|", "-e", "frame.protocols", "-e",
			"_ws.malformed",
			"-e", "_ws.expert", "-e", "msnlb.signature").Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := strings.TrimSpace(string(out)), "eth:ethertype:msnlb|||0xc0de01de"; got != want {
			t.Errorf("%s: tshark says %q, want %q", name, got, want)
		}
	}
}

// capture wraps a payload in an Ethernet frame and that in a pcap file.
func capture(payload []byte) []byte {
	frame := []byte{0x03, 0xBF, 172, 18, 0, 100, 0x02, 0, 0, 0, 0, 3, heartbeat.EtherType >> 8, heartbeat.EtherType & 0xFF}
	frame = append(frame, payload...)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xA1B2C3D4) // magic of microsecond captures
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	for _, word := range []uint32{0, 0, 65535, 1 /* Ethernet */, 0, 0, uint32(len(frame)), uint32(len(frame))} {
		b = le.AppendUint32(b, word)
	}
	return append(b, frame...)
}
