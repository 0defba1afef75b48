// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// Types of a file in an archive, as in a mode of stat.
const (
	typeFolder = 0o040000
	typeFile   = 0o100000
	typeLink   = 0o120000
)

// archive writes a file system for a kernel to begin with (cpio, format "newc":
// Documentation/driver-api/early-userspace/buffer-format.rst). Folders come by themselves.
type archive struct {
	out   *bufio.Writer
	seen  map[string]bool
	inode int
	err   error
}

func newArchive(out io.Writer) *archive {
	return &archive{out: bufio.NewWriterSize(out, 1<<20), seen: map[string]bool{}}
}

// add writes a program or another file from the machine, at a path from the root.
func (a *archive) add(at, source string) {
	if !a.begin(at) {
		return
	}
	f, err := os.Open(source)
	if err != nil {
		a.err = err
		return
	}
	info, err := f.Stat()
	if err == nil {
		err = a.entry(at, typeFile|0o755, info.Size(), f)
	}
	a.err = errors.Join(err, f.Close())
}

// text writes a file with the content given.
func (a *archive) text(at, content string) {
	if a.begin(at) {
		a.err = a.entry(at, typeFile|0o644, int64(len(content)), strings.NewReader(content))
	}
}

// link writes a symbolic link.
func (a *archive) link(at, target string) {
	if a.begin(at) {
		a.err = a.entry(at, typeLink|0o777, int64(len(target)), strings.NewReader(target))
	}
}

// folder writes one, and those above it.
func (a *archive) folder(at string) {
	if at != "/" && a.begin(at) {
		a.err = a.entry(at, typeFolder|0o755, 0, bytes.NewReader(nil))
	}
}

// begin reports whether a path is still to be written, and writes what is above it.
func (a *archive) begin(at string) bool {
	if a.err != nil || a.seen[at] {
		return false
	}
	a.seen[at] = true
	a.folder(path.Dir(at))
	return a.err == nil
}

// close writes the archive's end and returns the first error there was.
func (a *archive) close() error {
	if a.err == nil {
		a.err = a.entry("/TRAILER!!!", 0, 0, bytes.NewReader(nil))
	}
	return errors.Join(a.err, a.out.Flush())
}

func (a *archive) entry(at string, mode int, size int64, content io.Reader) error {
	a.inode++
	name := strings.TrimPrefix(at, "/")
	const links = 1
	// Magic, inode, mode, uid, gid, links, mtime, size, device (2), device that it is (2), length of the name, checksum.
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, len(name)+1, 0)
	if err := a.padded(int64(len(header)+len(name)+1), strings.NewReader(header+name+"\x00")); err != nil {
		return err
	}
	if err := a.padded(size, content); err != nil {
		return fmt.Errorf("archive %s: %w", at, err)
	}
	return nil
}

// padded writes size bytes and fills up to the next multiple of four.
func (a *archive) padded(size int64, content io.Reader) error {
	if _, err := io.CopyN(a.out, content, size); err != nil {
		return err
	}
	_, err := a.out.Write(make([]byte, (4-size%4)%4))
	return err
}
