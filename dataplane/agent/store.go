// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// store keeps what one cluster's host leaves to the next one, in a directory of its own.
type store struct {
	dir, cluster string
	log          *slog.Logger
	complain     sync.Once // about content that is of no use
}

func newStore(stateDir, cluster string, log *slog.Logger) *store {
	return &store{dir: filepath.Join(stateDir, cluster), cluster: cluster, log: log.With("cluster", cluster)}
}

func (s *store) path() string         { return filepath.Join(s.dir, "config.json") }
func (s *store) snapshotPath() string { return filepath.Join(s.dir, "snapshot.json") }

// Load implements host.Store. Content that cannot be used is as good as none, and said once.
func (s *store) Load() host.Saved {
	saved, err := s.read()
	if err != nil {
		s.complain.Do(func() { s.log.Error("Last config of no use, waiting for the source", "error", err) })
		return host.Saved{}
	}
	return saved
}

func (s *store) read() (host.Saved, error) {
	content, err := os.ReadFile(s.path())
	if errors.Is(err, fs.ErrNotExist) {
		return host.Saved{}, nil
	}
	if err != nil {
		return host.Saved{}, err
	}
	var saved host.Saved
	if err := json.Unmarshal(content, &saved); err != nil {
		return host.Saved{}, fmt.Errorf("%s: %w", s.path(), err)
	}
	if err := s.check(saved.Config); err != nil {
		return host.Saved{}, fmt.Errorf("%s: %w", s.path(), err)
	}
	if saved.InForce != nil && s.check(*saved.InForce) != nil {
		saved.InForce = nil
	}
	return saved, nil
}

// check says why a config is none that this store was given.
func (s *store) check(c plan.Config) error {
	switch {
	case c.Cluster == nil || c.Host == nil:
		return errors.New("no config in it")
	case c.Cluster.Name != s.cluster:
		return fmt.Errorf("config of cluster %q", c.Cluster.Name)
	}
	_, err := plan.New(c)
	return err
}

// Save implements host.Store. A reader finds what was before or all of what is saved now.
func (s *store) Save(saved host.Saved) error {
	content, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	aside := s.path() + ".new"
	if err := os.WriteFile(aside, content, 0o600); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	if err := os.Rename(aside, s.path()); err != nil {
		return fmt.Errorf("last config: %w", err)
	}
	return nil
}

// SaveSnapshot implements host.Store.
func (s *store) SaveSnapshot(content []byte) error {
	if err := os.WriteFile(s.snapshotPath(), content, 0o600); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	return nil
}

// TakeSnapshot implements host.Store. A snapshot that cannot be removed is not returned: none may be used twice.
func (s *store) TakeSnapshot() ([]byte, error) {
	content, err := os.ReadFile(s.snapshotPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := errors.Join(err, os.Remove(s.snapshotPath())); err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return content, nil
}

// remove deletes all that a store writes, and its directory unless somebody else's files are in it.
func (s *store) remove() error {
	for _, path := range s.files() {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("saved state: %w", err)
		}
	}
	if err := os.Remove(s.dir); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("saved state: %w", err)
	}
	return nil
}

// files are the paths of all that a store writes.
func (s *store) files() []string { return []string{s.path(), s.path() + ".new", s.snapshotPath()} }

// savedClusters are the names of the clusters that an earlier agent left something of in the state directory.
func savedClusters(stateDir string) ([]string, error) {
	entries, err := os.ReadDir(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("saved state: %w", err)
	}
	var names []string
	for _, e := range entries {
		s := store{dir: filepath.Join(stateDir, e.Name())}
		if slices.ContainsFunc(s.files(), exists) { // others may have directories there, as lost+found is one
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
