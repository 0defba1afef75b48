// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/hack/vm/job"
)

func TestReadEvents(t *testing.T) {
	for text, want := range map[string]struct {
		events   int
		done, ok bool
	}{
		"":                        {0, false, true},
		`{"Booted":"6.1"}` + "\n": {1, false, true},
		"{\"Booted\":\"6.1\"}\n{\"Done\":true}\n": {2, true, true},
		"nonsense\n{\"Done\":true}\n":             {1, true, false},
		`{"Booted":"6.1"`:                         {0, false, true}, // cut off: it was not done
	} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.WriteString(text); err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		events := 0
		done, err := readEvents(in, func(job.Event) { events++ })
		if events != want.events || done != want.done || (err == nil) != want.ok {
			t.Errorf("%q: %d events, done %t, %v; want %+v", text, events, done, err, want)
		}
		_ = in.Close()
	}
}

func TestComplaint(t *testing.T) {
	for text, want := range map[string]bool{
		"":                               false,
		"[    0.1] ACPI: some warning\n": false,
		"[    9.1] IPv6: ok\n[   10.0] WARNING: CPU: 1 PID: 9 at net/core/dev.c:1\n[ 10.0] more\n": true,
		"[   10.0] BUG: kernel NULL pointer dereference, address: 0\n":                             true,
	} {
		m := Machine{Console: filepath.Join(t.TempDir(), "console.log")}
		if err := os.WriteFile(m.Console, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := m.complaint(); (err != nil) != want {
			t.Errorf("%q: %v, want a complaint: %t", text, err, want)
		}
	}
}
