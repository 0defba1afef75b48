// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// read takes an archive apart: content by name.
func read(t *testing.T, data []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for {
		const header = 110
		if string(data[:6]) != "070701" {
			t.Fatalf("magic %q", data[:6])
		}
		field := func(i int) int {
			n, err := strconv.ParseInt(string(data[6+8*i:14+8*i]), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
		size, name := field(6), string(data[header:header+field(11)-1])
		data = data[(header+field(11)+3)/4*4:]
		out[name] = string(data[:size])
		data = data[(size+3)/4*4:]
		if name == "TRAILER!!!" {
			if len(data) > 0 {
				t.Errorf("%d bytes after the end", len(data))
			}
			return out
		}
	}
}

func TestArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	a := newArchive(&buf)
	a.add("/usr/bin/program", file)
	a.add("/usr/bin/program", file)
	a.link("/bin", "usr/bin")
	a.text("/etc/hosts", "127.0.0.1 localhost\n")
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	got := read(t, buf.Bytes())
	for name, want := range map[string]string{
		"usr": "", "usr/bin": "", "usr/bin/program": "hello", "bin": "usr/bin", "etc": "", "etc/hosts": "127.0.0.1 localhost\n",
	} {
		if content, ok := got[name]; !ok || content != want {
			t.Errorf("%s: %q, %v, want %q", name, content, ok, want)
		}
	}
	if len(got) != 7 {
		t.Errorf("%d entries, want 7: %v", len(got), got)
	}
}

func TestArchiveOfMissingFile(t *testing.T) {
	a := newArchive(&bytes.Buffer{})
	a.add("/x", filepath.Join(t.TempDir(), "missing"))
	a.text("/y", "")
	if err := a.close(); err == nil {
		t.Error("no error")
	}
}
