// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLockIsOneAgents(t *testing.T) {
	dir, pins := filepath.Join(t.TempDir(), "state"), filepath.Join(t.TempDir(), "bpf")
	first, err := tryLock(dir, pins, "pod-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(dir, pins, "pod-2"); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "of pod-1") {
		t.Errorf("a second one: %v", err)
	}
	if h, err := LockHolder(dir); err != nil || h.PID != os.Getpid() || h.Owner != "pod-1" {
		t.Errorf("holder is %v, %v", h, err)
	}

	// One that waits says so once, and goes on when the first one ended.
	var log strings.Builder
	got := make(chan *lock)
	go func() {
		l, err := acquire(t.Context(), dir, pins, "pod-2", slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Error(err)
		}
		got <- l
	}()
	select {
	case <-got:
		t.Fatal("two agents at a time")
	case <-time.After(5 * lockRetry):
	}
	first.release()
	second := <-got
	if n := strings.Count(log.String(), "Waiting for the agent"); n != 1 {
		t.Errorf("said %d times: %s", n, log.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockRetry)
	defer cancel()
	if l, err := acquire(ctx, dir, pins, "pod-3", slog.New(slog.DiscardHandler)); l != nil || err != nil {
		t.Errorf("asked to end while it waited: %v, %v", l, err)
	}
	second.release()
}

// Agents with different state directories are kept apart by what they pin, also when the last pin has gone meanwhile.
func TestLockIsOneAgentsOfThePins(t *testing.T) {
	pins := filepath.Join(t.TempDir(), "bpf", "kube-wlbs")
	first, err := tryLock(t.TempDir(), pins, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pins); err == nil { // as the filter does with the last pin
		t.Error("the directory of the pins went from under the lock")
	}
	other := t.TempDir()
	if _, err := tryLock(other, pins, ""); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), pins) {
		t.Errorf("a second one: %v", err)
	}
	first.release()
	if _, err := os.Stat(pins); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	second, err := tryLock(other, pins, "")
	if err != nil {
		t.Fatal(err)
	}
	second.release()

	// Where no directory can be made nothing is pinned either.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	third, err := tryLock(other, file, "")
	if err != nil {
		t.Fatal(err)
	}
	third.release()
}

func TestLockHolderOfNothing(t *testing.T) {
	dir := t.TempDir()
	for _, content := range []string{"", "x", "\n"} {
		if err := os.WriteFile(lockPath(dir), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := LockHolder(dir); err != nil || h != (Holder{}) {
			t.Errorf("%q: %v, %v", content, h, err)
		}
	}
}
