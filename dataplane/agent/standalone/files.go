// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
)

// settleTime is how long a file must be left alone before it is read: some editors and tools write a file in several
// steps.
const settleTime = 500 * time.Millisecond

// look is what was found at one moment.
type look struct {
	// err says that nothing is known: the directory cannot be read.
	err   error
	files []found // by name
}

// settling reports whether a file is being written.
func (l *look) settling() bool {
	return slices.ContainsFunc(l.files, func(f found) bool { return f.settling })
}

// found is one file.
type found struct {
	name string
	// settling says that the file is being written: its content is not known.
	settling bool
	// err says that the file cannot be read; otherwise content is all of it. It is the same slice while the file stays as
	// it is.
	err     error
	content []byte
}

// reader reads the files of a directory, or one file, and remembers them.
type reader struct {
	dir, file string // one of them
	known     map[string]*known
	begun     bool
}

// known is a file as it was seen last.
type known struct {
	stamp stamp
	since time.Time // it has that stamp
	read  bool      // what found holds is of that stamp
	found found
}

// stamp changes whenever a file does.
type stamp struct {
	size         int64
	mtime, ctime int64
	device, node uint64
}

func newReader(dir, file string) *reader {
	return &reader{dir: dir, file: file, known: map[string]*known{}}
}

// look reads what changed since the last time. now must have a monotonic reading.
func (r *reader) look(now time.Time) look {
	paths, err := r.paths()
	if err != nil {
		return look{err: err}
	}
	var l look
	for _, path := range paths {
		if f, there := r.lookAt(path, now); there {
			l.files = append(l.files, f)
		}
	}
	for path := range r.known {
		if !slices.Contains(paths, path) {
			delete(r.known, path)
		}
	}
	r.begun = true
	return l
}

// paths returns the files that count, by name.
func (r *reader) paths() ([]string, error) {
	if r.dir == "" {
		return []string{r.file}, nil
	}
	entries, err := os.ReadDir(r.dir) // by name
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if isClusterFile(e.Name()) {
			paths = append(paths, filepath.Join(r.dir, e.Name()))
		}
	}
	return paths, nil
}

// isClusterFile reports whether a file in the directory counts: editors' copies and what is hidden do not.
func isClusterFile(name string) bool {
	extension := filepath.Ext(name)
	return (extension == ".yaml" || extension == ".yml") && !strings.HasPrefix(name, ".")
}

// lookAt reads a file if it changed, and reports false if it is gone from the directory.
func (r *reader) lookAt(path string, now time.Time) (found, bool) {
	name := filepath.Base(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && r.dir != "" {
		delete(r.known, path)
		return found{}, false
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	if err != nil {
		delete(r.known, path)
		return found{name: name, err: err}, true
	}
	k := r.known[path]
	if s := stampOf(info); k == nil || k.stamp != s {
		since := now
		if age := now.Sub(info.ModTime()); !r.begun && age > 0 { // at the start, files that were written long ago are whole
			since = now.Add(-age)
		}
		k = &known{stamp: s, since: since}
		r.known[path] = k
	}
	if now.Sub(k.since) < settleTime {
		return found{name: name, settling: true}, true
	}
	if !k.read {
		k.read = true
		k.found = found{name: name}
		k.found.content, k.found.err = readWhole(path)
	}
	return k.found, true
}

func stampOf(info fs.FileInfo) stamp {
	s := stamp{size: info.Size(), mtime: info.ModTime().UnixNano()}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.device, s.node = sys.Ctim.Nano(), sys.Dev, sys.Ino
	}
	return s
}

// readWhole returns the content of a file that is not cut short, as far as that can be told: text ends with the end of
// a line.
func readWhole(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, schema.MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > schema.MaxSize:
		return nil, fmt.Errorf("has more than %d bytes", schema.MaxSize)
	case len(bytes.TrimSpace(content)) == 0:
		return nil, errors.New("is empty")
	case content[len(content)-1] != '\n':
		return nil, errors.New("does not end with the end of a line: it may be cut short; end its last line")
	}
	return content, nil
}

// endMarker ends a YAML document. A file that had one is not whole without.
const endMarker = "..."

func hasEndMarker(content []byte) bool {
	lines := strings.Split(strings.TrimRight(string(content), "\n\r\t "), "\n")
	return lines[len(lines)-1] == endMarker
}
