// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// madeByTest is the label of clusters that tests made, and may remove.
const madeByTest = "e2e.wlbs.dev/made-by-test"

// removeLeftovers removes what tests made that were interrupted, and could not clean up.
func removeLeftovers() error {
	ctx, cancel := contextFor(removalLimit + 30*time.Second)
	defer cancel()
	return errors.Join(cluster.Heal(ctx), removeLeftClusters(ctx), removeWorkloads())
}

func removeLeftClusters(ctx context.Context) error {
	e, err := connectOnce()
	if err != nil {
		return err
	}
	var left v1alpha1.LoadBalancingClusterList
	err = e.api.List(ctx, &left, client.HasLabels{madeByTest})
	if meta.IsNoMatchError(err) || err == nil && len(left.Items) == 0 {
		return nil // the operator is not deployed, or all is as it should be
	}
	if err != nil {
		return err
	}
	_, err = kubectl(ctx, "", "delete", "lbc", "-l", madeByTest, "--timeout="+removalLimit.String())
	return err
}
