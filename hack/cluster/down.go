// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// down removes the cluster. What is cached (images, the engine's store) stays,
// unless all of it is to go.
func down(ctx context.Context, all bool) error {
	l, err := lab.Open()
	if errors.Is(err, lab.ErrNoCluster) {
		l, err = lab.Detect(ctx) // its creation may have been cut short
	}
	if err != nil {
		return err
	}
	if !l.Begun() {
		return nil
	}
	unlock, err := lock(l)
	if err != nil {
		return err
	}
	defer unlock()
	if all {
		step("removing cluster %s and all that belongs to it", l.Name)
		return l.Reset(ctx)
	}
	return removeNodes(ctx, l)
}

// removeNodes deletes the nodes, in order if the engine can, else by force.
func removeNodes(ctx context.Context, l *lab.Lab) error {
	if err := l.Prepare(ctx); err != nil {
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	nodes, err := l.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(nodes) > 0 {
		step("removing cluster %s", l.Name)
		if err := newProvider(l).Delete(l.Name, l.Kubeconfig()); err != nil {
			return fmt.Errorf("remove cluster %s (`cluster down --all` removes it by force): %w", l.Name, err)
		}
	}
	return l.Release(ctx)
}

// lock keeps two runs from making or removing clusters at the same time. The lock is held
// by an open file, so that it goes with the process, also when it is killed.
func lock(l *lab.Lab) (unlock func(), err error) {
	f, err := l.OpenLock()
	if err != nil {
		return nil, err
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		step("waiting for another run that makes or removes a cluster")
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
	return func() { _ = f.Close() }, nil
}
