// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// saved is what an agent leaves to the next one.
type saved struct {
	// Config is the last config that could be used: a restarted agent serves by it
	// although nobody can tell it what to do.
	Config plan.Config `json:"config"`
	// InForce is the one that the filter works by, if it is another: the newest waits for all hosts to hold it.
	InForce *plan.Config `json:"inForce,omitempty"`
	// Incarnation of the agent that wrote this; the next one takes a greater number
	// although the node's clock may have gone back.
	Incarnation uint64 `json:"incarnation"`
}

// stateFile keeps what is saved on disk.
type stateFile struct{ dir string }

func (f stateFile) path() string { return filepath.Join(f.dir, "desired.json") }

func (f stateFile) snapshotPath() string { return filepath.Join(f.dir, "snapshot.json") }

// saveSnapshot leaves the state of the convergence to an agent that starts within the hold.
func (f stateFile) saveSnapshot(content []byte) error {
	if err := os.WriteFile(f.snapshotPath(), content, 0o600); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// takeSnapshot returns the snapshot, if there is one, and removes it: none is used twice.
func (f stateFile) takeSnapshot() ([]byte, error) {
	content, err := os.ReadFile(f.snapshotPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(err, os.Remove(f.snapshotPath())); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return content, nil
}

func (f stateFile) load() (saved, bool, error) {
	content, err := os.ReadFile(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		return saved{}, false, nil
	}
	if err != nil {
		return saved{}, false, fmt.Errorf("last config: %w", err)
	}
	var d saved
	if err := json.Unmarshal(content, &d); err != nil {
		return saved{}, false, fmt.Errorf("last config %s: %w", f.path(), err)
	}
	return d, true, nil
}

func (f stateFile) save(d saved) error {
	content, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	aside := f.path() + ".new"
	if err := os.WriteFile(aside, content, 0o600); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	if err := os.Rename(aside, f.path()); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	return nil
}

// remove deletes the state and, if it is empty then, its directory.
func (f stateFile) remove() error {
	for _, path := range []string{f.path(), f.snapshotPath()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("saved state: %w", err)
		}
	}
	if err := os.Remove(f.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("state directory: %w", err)
	}
	return nil
}
