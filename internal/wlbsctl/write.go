// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	// maxAttempts bounds how often a write is tried that others get in the way of. The cluster's status is written
	// several times a second at most, while hosts converge.
	maxAttempts = 30
	// retryAfter is the longest wait between two of them.
	retryAfter = 100 * time.Millisecond
)

// write changes a cluster by server-side apply. decide is asked anew whenever somebody else wrote in between, so that
// it always decides on what is there: a host that was suspended meanwhile must refuse. write returns the cluster as
// written.
func (c *client) write(ctx context.Context, name string,
	decide func(*v1alpha1.LoadBalancingCluster) ([]change, error)) (*v1alpha1.LoadBalancingCluster, error) {
	var err error
	for range maxAttempts {
		var cluster *v1alpha1.LoadBalancingCluster
		if cluster, err = c.cluster(ctx, name); err != nil {
			return nil, err
		}
		changes, decideErr := decide(cluster)
		if decideErr != nil {
			return nil, decideErr
		}
		var written *v1alpha1.LoadBalancingCluster
		if written, err = c.try(ctx, cluster, changes); err == nil && written != nil {
			return written, nil
		}
		if err != nil && !apierrors.IsConflict(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rand.N(retryAfter)): //nolint:gosec // nobody gains from guessing a pause
		}
	}
	return nil, fmt.Errorf("gave up after %d attempts, others keep writing: %w", maxAttempts, err)
}

// try writes once. It returns nil when it only made a first step and is to be called again.
func (c *client) try(ctx context.Context, cluster *v1alpha1.LoadBalancingCluster,
	changes []change) (*v1alpha1.LoadBalancingCluster, error) {
	if allDone(changes, &cluster.Spec) {
		return cluster, nil
	}
	p, err := newPatch(cluster)
	if err != nil {
		return nil, err
	}
	first := p.takeOver(changes)
	if !first {
		for i := range changes {
			p.add(&changes[i])
		}
	}
	body, err := p.body()
	if err != nil {
		return nil, err
	}
	written, err := c.applyCluster(ctx, cluster.Name, body)
	if err != nil || first {
		return nil, err
	}
	if !allDone(changes, &written.Spec) {
		return nil, fmt.Errorf("LoadBalancingCluster %s was written, but does not say what was asked for: "+
			"does an admission webhook change it?", cluster.Name)
	}
	return written, nil
}

func allDone(changes []change, spec *v1alpha1.LoadBalancingClusterSpec) bool {
	for i := range changes {
		if !changes[i].done(spec) {
			return false
		}
	}
	return true
}
