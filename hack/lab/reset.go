// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Release gives back what an isolated lab in which no cluster is left holds of the
// machine: its network namespace, the kernel settings, run-time state. The engine's
// store, with the node image, stays for the next cluster.
func (l *Lab) Release(ctx context.Context) error {
	if err := l.Forget(); err != nil || !l.Isolated {
		return err
	}
	left, err := l.engine(ctx, "ps", "--all", "--quiet")
	if err != nil || left != "" {
		return err
	}
	return l.release(ctx)
}

func (l *Lab) release(ctx context.Context) error {
	return errors.Join(
		dropStaleNames(ctx),
		removeNamespace(ctx),
		restoreSysctls(),
		removeTree(ctx, runDir),
	)
}

// Reset ends and removes an isolated lab with all clusters in it, whatever state
// they are in and whatever the engine believes. Call it from outside the namespace.
func (l *Lab) Reset(ctx context.Context) error {
	if err := l.Forget(); err != nil || !l.Isolated {
		return err
	}
	return errors.Join(
		l.endContainers(),
		l.release(ctx),
		removeTree(ctx, l.enginePath()),
		removeTree(ctx, filepath.Join(l.cache, "clusters")),
	)
}

// endContainers kills every process in the control groups of this lab's own
// containers, without the engine, which may be of another opinion.
func (l *Lab) endContainers() error {
	containers, err := os.ReadDir(l.enginePath("storage", "overlay-containers"))
	if err != nil {
		return ignoreGone(err) // no store, no containers
	}
	var errs []error
	for _, entry := range containers {
		if !entry.IsDir() {
			continue
		}
		id := entry.Name()
		groups, err := filepath.Glob("/sys/fs/cgroup/*/libpod_parent/libpod-*" + id)
		if err != nil {
			return err
		}
		for _, group := range groups {
			errs = append(errs, killGroup(group), removeGroups(group))
		}
	}
	return errors.Join(errs...)
}

// killGroup kills the processes of a control group and of those below it.
func killGroup(group string) error {
	return filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Name() != "cgroup.procs" {
			return ignoreGone(err)
		}
		pids, err := os.ReadFile(path)
		if err != nil {
			return ignoreGone(err)
		}
		for word := range strings.FieldsSeq(string(pids)) {
			var pid int
			if _, err := fmt.Sscan(word, &pid); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL) // gone already is as good
			}
		}
		return nil
	})
}

// removeGroups removes a control group's folders, the deepest first: the engine
// leaves empty ones behind.
func removeGroups(group string) error {
	var folders []string
	err := filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, path)
		}
		return ignoreGone(err)
	})
	for _, folder := range slices.Backward(folders) {
		_ = unix.Rmdir(folder) // processes may take a moment to be gone; an empty group does no harm
	}
	return err
}

// removeTree removes a folder, after unmounting what a container's end left
// mounted below it.
func removeTree(ctx context.Context, dir string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var below []string
	for line := range strings.Lines(string(mounts)) {
		const mountPoint = 4
		fields := strings.Fields(line)
		if len(fields) > mountPoint && strings.HasPrefix(fields[mountPoint], dir+"/") {
			below = append(below, fields[mountPoint])
		}
	}
	for _, mount := range slices.Backward(below) {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", mount, err)
		}
	}
	// What is being ended may still write: not empty only for a moment.
	for range 50 {
		if err = os.RemoveAll(dir); !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
	return err
}
