// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/kind/pkg/cluster/nodes"
	"sigs.k8s.io/kind/pkg/cluster/nodeutils"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// load gives image archives to the container runtime of every node.
func load(ctx context.Context, archives []string) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	all, err := newProvider(l).ListInternalNodes(l.Name)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return lab.ErrNoCluster
	}
	work, _ := errgroup.WithContext(ctx)
	for _, node := range all {
		work.Go(func() error {
			for _, archive := range archives {
				if err := loadInto(node, archive); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		return err
	}
	step("loaded %d images into %d nodes", len(archives), len(all))
	return nil
}

func loadInto(node nodes.Node, archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := nodeutils.LoadImageArchive(node, f); err != nil {
		return fmt.Errorf("load %s into node %s: %w", archive, node, err)
	}
	return nil
}
