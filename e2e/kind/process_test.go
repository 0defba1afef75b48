// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// process is a process of a pod, seen from this machine, whose kernel it shares.
type process struct {
	dir string
	// status holds the fields of /proc/PID/status.
	status map[string]string
}

// theProcess returns the one process of a pod with a name.
func theProcess(t *testing.T, pod *corev1.Pod, name string) process {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	must(t, err)
	var found []process
	for _, dir := range dirs {
		groups, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !inPod(string(groups), pod) {
			continue // it has ended, or is none of ours
		}
		text, err := os.ReadFile(filepath.Join(dir, "status"))
		if err != nil {
			continue
		}
		if p := (process{dir: dir, status: fields(string(text))}); p.status["Name"] == name {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		t.Fatalf("pod %s has %d processes %s, want 1", pod.Name, len(found), name)
	}
	return found[0]
}

// inPod reports whether control groups are a pod's; systemd writes its UID with underscores.
func inPod(groups string, pod *corev1.Pod) bool {
	uid := string(pod.UID)
	return strings.Contains(groups, uid) || strings.Contains(groups, strings.ReplaceAll(uid, "-", "_"))
}

func fields(text string) map[string]string {
	found := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		found[name] = strings.TrimSpace(value)
	}
	return found
}

// listeners are the TCP ports that are listened on in the process's network, and the UDP ports that are bound there.
func (p process) listeners(t *testing.T) []uint16 {
	t.Helper()
	const listening, unconnected = "0A", "07"
	var ports []uint16
	for table, state := range map[string]string{"tcp": listening, "tcp6": listening, "udp": unconnected, "udp6": unconnected} {
		text, err := os.ReadFile(filepath.Join(p.dir, "net", table))
		must(t, err)
		for line := range strings.Lines(string(text)) {
			cells := strings.Fields(line)
			if len(cells) < 4 || cells[3] != state {
				continue
			}
			port, err := portOf(cells[1])
			must(t, err)
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// portOf reads the port of an address as /proc/net writes it.
func portOf(address string) (uint16, error) {
	_, port, _ := strings.Cut(address, ":")
	b, err := hex.DecodeString(port)
	if err != nil || len(b) != 2 {
		return 0, fmt.Errorf("%q is no address of /proc/net", address)
	}
	return binary.BigEndian.Uint16(b), nil
}
