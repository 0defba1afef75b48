// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockRetry is how soon an agent that waits notices that the one before it ended.
const lockRetry = 100 * time.Millisecond

// ErrLocked says that another agent runs on the node.
var ErrLocked = errors.New("another agent runs on this node")

// Holder is the agent that holds a node's lock.
type Holder struct {
	// PID of the agent, in its own PID namespace.
	PID int
	// Owner is Config.Owner of the agent.
	Owner string
}

// String names the holder.
func (h Holder) String() string {
	if h.Owner == "" {
		return fmt.Sprintf("process %d", h.PID)
	}
	return fmt.Sprintf("process %d of %s", h.PID, h.Owner)
}

// lock is held by one agent on a node at a time: sockets, pins and addresses belong to it. The kernel releases it with
// the process, however that ends.
type lock struct {
	file *os.File
	pins *os.File // nil where nothing can be pinned
}

// acquire waits for the lock until ctx ends, and returns nil then.
func acquire(ctx context.Context, stateDir, bpffsDir, owner string, log *slog.Logger) (*lock, error) {
	for said := false; ; {
		l, err := tryLock(stateDir, bpffsDir, owner)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		if !said {
			log.Warn("Waiting for the agent that runs on this node to end", "holder", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(lockRetry):
		}
	}
}

// tryLock takes the lock, or returns an error that names its holder. Agents with different state directories are kept
// apart by their pins: whoever has those has the filters.
func tryLock(stateDir, bpffsDir, owner string) (*lock, error) {
	file, err := openLock(stateDir)
	if err != nil {
		return nil, fmt.Errorf("lock of the node: %w", err)
	}
	err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		_ = file.Close()
		holder, _ := LockHolder(stateDir)
		return nil, fmt.Errorf("%w: %s", ErrLocked, holder)
	case err != nil:
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	pins, err := lockPins(bpffsDir)
	if errors.Is(err, ErrLocked) { // where else it fails, nothing can be pinned
		_ = file.Close()
		return nil, err
	}
	// Who holds it is for people; a disk that is full or read-only keeps no agent from serving.
	if file.Truncate(0) == nil {
		_, _ = fmt.Fprintf(file, "%d %s\n", os.Getpid(), owner)
	}
	return &lock{file: file, pins: pins}, nil
}

// lockPins locks a directory beside the pins, which keeps the one above it from going with the last pin: a lock on a
// directory that is made anew would be none.
func lockPins(bpffsDir string) (*os.File, error) {
	path := pinLockPath(bpffsDir)
	for {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("lock of the pins: %w", err)
		}
		dir, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) { // the last holder has just removed it
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("lock of the pins: %w", err)
		}
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			_ = dir.Close()
			return nil, fmt.Errorf("%w: one with another state directory and its pins in %s", ErrLocked, bpffsDir)
		case err != nil:
			_ = dir.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		case leadsTo(path, dir):
			return dir, nil
		}
		_ = dir.Close()
	}
}

// leadsTo reports whether a path is still that of an open file.
func leadsTo(path string, file *os.File) bool {
	there, err := os.Stat(path)
	if err != nil {
		return false
	}
	open, err := file.Stat()
	return err == nil && os.SameFile(there, open)
}

// openLock opens the lock's file, on a disk that takes none the directory, which can be locked as well.
func openLock(stateDir string) (*os.File, error) {
	mkdirErr := os.MkdirAll(stateDir, 0o700)
	file, err := os.OpenFile(lockPath(stateDir), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		return file, nil
	}
	for _, path := range []string{lockPath(stateDir), stateDir} {
		if file, err := os.Open(path); err == nil {
			return file, nil
		}
	}
	return nil, errors.Join(mkdirErr, err)
}

// lockPath begins with a dot, as no name of a cluster does.
func lockPath(stateDir string) string { return filepath.Join(stateDir, ".lock") }

// A bpffs takes no dots in names, and the lock is no pin.
func pinLockPath(bpffsDir string) string { return filepath.Join(bpffsDir, "lock") }

// release lets the next agent on. Of the directory of the pins it leaves nothing but pins.
func (l *lock) release() {
	if l.pins != nil {
		_ = os.Remove(l.pins.Name())
		_ = os.Remove(filepath.Dir(l.pins.Name())) // fails while something is pinned
		_ = l.pins.Close()
	}
	_ = l.file.Close()
}

// LockHolder returns the agent that took the node's lock last, whether it still runs or not.
func LockHolder(stateDir string) (Holder, error) {
	content, err := os.ReadFile(lockPath(stateDir))
	if errors.Is(err, fs.ErrNotExist) {
		return Holder{}, nil
	}
	if err != nil {
		return Holder{}, fmt.Errorf("lock of the node: %w", err)
	}
	first, owner, _ := strings.Cut(strings.TrimSpace(string(content)), " ")
	if pid, err := strconv.Atoi(first); err == nil {
		return Holder{PID: pid, Owner: owner}, nil
	}
	return Holder{}, nil // it could not say so
}
