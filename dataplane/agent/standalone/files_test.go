// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
)

// describe says what was found, a line for each file.
func describe(l look) []string {
	if l.err != nil {
		return []string{"error"}
	}
	var lines []string
	for _, f := range l.files {
		switch {
		case f.settling:
			lines = append(lines, f.name+" settling")
		case f.err != nil:
			lines = append(lines, f.name+" "+f.err.Error())
		default:
			lines = append(lines, f.name+" "+strings.TrimSpace(string(f.content)))
		}
	}
	return lines
}

func TestReaderWaitsUntilAFileIsWhole(t *testing.T) {
	dir := t.TempDir()
	r := newReader(dir, "")
	now := time.Now()
	check := func(what string, later time.Duration, want ...string) {
		t.Helper()
		now = now.Add(later)
		if diff := cmp.Diff(want, describe(r.look(now))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old.yaml", "old\n")
	if err := os.Chtimes(filepath.Join(dir, "old.yaml"), time.Time{}, now.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	write("web.yaml", "one\n")
	for _, name := range []string{"README.md", ".web.yaml.swp", ".hidden.yaml", "web.yaml~", "web.yaml.bak"} {
		write(name, "not a cluster\n")
	}
	check("at the start", 0, "old.yaml old", "web.yaml settling")
	check("left alone", settleTime, "old.yaml old", "web.yaml one")
	write("web.yaml", "one and")
	check("written in place", settleTime, "old.yaml old", "web.yaml settling")
	write("web.yaml", "one and two\n")
	check("and on", settleTime/2, "old.yaml old", "web.yaml settling")
	check("not for long enough", settleTime/2, "old.yaml old", "web.yaml settling")
	check("for long enough", settleTime, "old.yaml old", "web.yaml one and two")

	write(".web.yaml.new", "three\n")
	if err := os.Rename(filepath.Join(dir, ".web.yaml.new"), filepath.Join(dir, "web.yaml")); err != nil {
		t.Fatal(err)
	}
	check("replaced", 0, "old.yaml old", "web.yaml settling")
	check("replaced for long enough", settleTime, "old.yaml old", "web.yaml three")

	for content, want := range map[string]string{
		"":        "is empty",
		" \n\n":   "is empty",
		"cut sho": "cut short",
		strings.Repeat("#", schema.MaxSize) + "\n": "more than",
	} {
		write("web.yaml", content)
		r.look(now)
		now = now.Add(settleTime)
		if got := describe(r.look(now)); len(got) != 2 || !strings.Contains(got[1], want) {
			t.Errorf("want %q, got %.200q", want, got)
		}
	}
	if err := os.Remove(filepath.Join(dir, "web.yaml")); err != nil {
		t.Fatal(err)
	}
	check("removed", 0, "old.yaml old")
	if err := os.Mkdir(filepath.Join(dir, "web.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	check("a directory", 0, "old.yaml old", "web.yaml is not a regular file")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	check("no directory", 0, "error")
}

// Content is the same slice as long as a file is the same: nobody decodes it twice.
func TestReaderReadsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, now := newReader("", path), time.Now()
	r.look(now)
	first, second := r.look(now.Add(time.Second)), r.look(now.Add(time.Minute))
	if !sameSlice(first.files[0].content, second.files[0].content) {
		t.Error("the file was read twice")
	}
}

func TestSingleFileThatIsGone(t *testing.T) {
	r := newReader("", filepath.Join(t.TempDir(), "web.yaml"))
	if got := describe(r.look(time.Now())); len(got) != 1 || !strings.Contains(got[0], "no such file") {
		t.Errorf("got %q", got)
	}
}
