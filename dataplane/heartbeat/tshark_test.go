// SPDX-License-Identifier: Apache-2.0

package heartbeat

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// field is a field of a frame as tshark decodes it: the last one of its name.
type field struct{ name, want string }

// TestWiresharkDecodes has tshark decode a frame, so that people who look at the wire see an NLB heartbeat.
func TestWiresharkDecodes(t *testing.T) {
	decodes(t, example().AppendTo(nil), []field{
		{"msnlb.signature", "0xc0de01bf"},
		{"msnlb.unique_host_id", "3"},
		{"msnlb.cluster_ip", "172.18.0.100"},
		{"msnlb.host_ip", "172.18.0.3"},
		{"msnlb.my_host_ip", "3"},
		{"msnlb.default_host_ip", "1"},
		{"msnlb.number_of_port_rules", "2"},
		{"msnlb.loadweights.data", "82"},
		{"msnlb.currentmap.data", "576460756598390784"}, // 1<<59 | 1<<32
	})
}

// TestWiresharkDecodesIdentity has tshark decode extended heartbeats with an address of each family.
func TestWiresharkDecodesIdentity(t *testing.T) {
	for addr, name := range map[string]string{"172.18.0.3": "msnlb.host_ipv4", "fd00:172:18::3": "msnlb.host_ipv6"} {
		i := exampleIdentity(addr)
		for _, i.HostName = range []string{"c", "node-c", "node-c.rack-2.example.org"} {
			decodes(t, i.AppendTo(nil), []field{
				{"msnlb.signature", "0xc0de01c0"},
				{"msnlb.unique_host_id", "3"},
				{"msnlb.cluster_ip", "172.18.0.100"},
				{"msnlb.host_ip", "172.18.0.3"},
				{"msnlb.host_name", i.HostName},
				{"msnlb.extended_hb.type", "2"},
				{name, addr},
				{"msnlb.host_unknown", ""},
				{"msnlb.extended_hb.unknown", ""},
			})
		}
	}
}

// decodes compares what tshark makes of a payload with the fields wanted, and wants no complaint.
func decodes(t *testing.T, payload []byte, fields []field) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("tshark is not installed")
		}
		t.Skip("tshark is not installed")
	}
	file := filepath.Join(t.TempDir(), "heartbeat.pcap")
	if err := os.WriteFile(file, capture(payload), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-r", file, "-T", "fields", "-E", "separator=|", "-E", "occurrence=l"}
	var want []string
	fields = append([]field{{"_ws.malformed", ""}, {"_ws.expert", ""}, {"frame.protocols", "eth:ethertype:msnlb"}},
		fields...)
	for _, f := range fields {
		args, want = append(args, "-e", f.name), append(want, f.want)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if got := strings.TrimRight(string(out), "\n"); got != strings.Join(want, "|") {
		t.Errorf("tshark %s\n got %q\nwant %q", strings.Join(args, " "), got, strings.Join(want, "|"))
	}
}

// capture wraps a payload in an Ethernet frame and that in a pcap file.
func capture(payload []byte) []byte {
	frame := []byte{0x03, 0xBF, 172, 18, 0, 100, 0x02, 0, 0, 0, 0, 3, EtherType >> 8, EtherType & 0xFF}
	frame = append(frame, payload...)
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xA1B2C3D4) // magic of microsecond captures
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint32(b, 0), 0)
	b = le.AppendUint32(le.AppendUint32(b, 65535), 1) // Ethernet
	b = le.AppendUint32(le.AppendUint32(b, 0), 0)
	b = le.AppendUint32(le.AppendUint32(b, uint32(len(frame))), uint32(len(frame)))
	return append(b, frame...)
}
