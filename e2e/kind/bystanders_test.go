// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// bystander is what must be the same after the tests of a LoadBalancingCluster that was there before them: `make demo`
// leaves one, and people make others. Tests let the nodes fail that it shares with them.
type bystander struct {
	uid        types.UID
	generation int64
	converged  bool
	hosts      string
}

// findBystanders returns the clusters that are there now, by name: none where the operator is not deployed.
func findBystanders() (map[string]bystander, error) {
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	return listBystanders(ctx)
}

func listBystanders(ctx context.Context) (map[string]bystander, error) {
	e, err := connectOnce()
	if err != nil {
		return nil, err
	}
	var list v1alpha1.LoadBalancingClusterList
	if err := e.api.List(ctx, &list); meta.IsNoMatchError(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	found := map[string]bystander{}
	for _, c := range list.Items {
		found[c.Name] = bystander{
			uid: c.UID, generation: c.Generation,
			converged: meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionConverged),
			hosts:     c.Status.Columns.Hosts,
		}
	}
	return found, nil
}

// awaitBystanders waits until the clusters of before, and no others, are there and as they were.
func awaitBystanders(before map[string]bystander) error {
	ctx, cancel := contextFor(2 * time.Minute)
	defer cancel()
	_, err := eventually.Until(ctx, pollInterval, func(ctx context.Context) error {
		now, err := listBystanders(ctx)
		if err == nil && !maps.Equal(before, now) {
			err = fmt.Errorf("the clusters are %+v, and were %+v before the tests", now, before)
		}
		return err
	})
	return err
}
