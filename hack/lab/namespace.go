// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Enter makes the running program one that works in the lab: environment, and
// network namespace where the lab is isolated. For the latter the program is
// executed anew with its arguments, because a namespace is a thread's property;
// it then returns at once. Call it first in main.
func (l *Lab) Enter() error {
	for _, kv := range l.Environ() {
		if name, value, ok := cut(kv); ok {
			if err := os.Setenv(name, value); err != nil {
				return err
			}
		}
	}
	inside, err := l.inside()
	if err != nil || inside {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return l.replaceProcess(self, os.Args)
}

// Exec replaces the running program by another, in the lab.
func (l *Lab) Exec(program string, args []string) error {
	if err := l.Enter(); err != nil {
		return err
	}
	return l.replaceProcess(program, args)
}

// replaceProcess executes a program in the lab's namespace. execve keeps the
// namespaces of the thread that calls it, and ends all others.
func (l *Lab) replaceProcess(program string, args []string) error {
	runtime.LockOSThread()
	if l.Isolated {
		f, err := os.Open(namespacePath)
		if err != nil {
			return fmt.Errorf("the lab's network namespace: %w", err)
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", namespacePath, err)
		}
	}
	if err := unix.Exec(program, args, os.Environ()); err != nil {
		return fmt.Errorf("execute %s: %w", program, err)
	}
	return nil
}

// inside reports whether this process is where the nodes' network is.
func (l *Lab) inside() (bool, error) {
	if !l.Isolated {
		return true, nil
	}
	own, err := os.Stat("/proc/self/ns/net")
	if err != nil {
		return false, err
	}
	lab, err := os.Stat(namespacePath)
	if err != nil {
		return false, fmt.Errorf("the lab's network namespace: %w (is the cluster up?)", err)
	}
	return os.SameFile(own, lab), nil
}

// namespace is the name of an isolated lab's network namespace. There is one on a
// machine, whatever the number of clusters: Podman's name server, which nodes ask
// for the control plane's address, serves one namespace only.
const namespace = "kube-wlbs"

// namespacePath is where iproute2 looks for named network namespaces.
const namespacePath = "/run/netns/" + namespace

// makeNamespace makes the network namespace, if it is not there.
func makeNamespace(ctx context.Context) error {
	switch fileSystem(namespacePath) {
	case unix.NSFS_MAGIC:
		return nil
	case 0:
	default: // a plain file: what a reboot leaves where /run is on a disk
		if err := removeFile(namespacePath); err != nil {
			return err
		}
	}
	if err := run(ctx, "ip", "netns", "add", namespace); err != nil {
		return err
	}
	return run(ctx, "ip", "-n", namespace, "link", "set", "lo", "up")
}

func removeNamespace(ctx context.Context) error {
	if _, err := os.Stat(namespacePath); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return run(ctx, "ip", "netns", "delete", namespace)
}
