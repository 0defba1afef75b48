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
	dir := filepath.Join(t.TempDir(), "state")
	first, err := tryLock(dir, "pod-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryLock(dir, "pod-2"); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "of pod-1") {
		t.Errorf("a second one: %v", err)
	}
	if h, err := LockHolder(dir); err != nil || h.PID != os.Getpid() || h.Owner != "pod-1" {
		t.Errorf("holder is %v, %v", h, err)
	}

	// One that waits says so once, and goes on when the first one ended.
	var log strings.Builder
	got := make(chan *lock)
	go func() {
		l, err := acquire(t.Context(), dir, "pod-2", slog.New(slog.NewTextHandler(&log, nil)))
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
	if l, err := acquire(ctx, dir, "pod-3", slog.New(slog.DiscardHandler)); l != nil || err != nil {
		t.Errorf("asked to end while it waited: %v, %v", l, err)
	}
	second.release()
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
