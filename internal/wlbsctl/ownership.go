// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"bytes"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// fieldManager owns what kubectl wlbs sets in a LoadBalancingCluster, and nothing else.
const fieldManager = "kubectl-wlbs"

// ownership says whose the fields of a cluster's spec are. Server-side apply removes a field that its manager once
// applied and now leaves out, so every command must say again what earlier ones set: that is read from here.
type ownership struct{ ours, others *fieldpath.Set }

func ownershipOf(cluster *v1alpha1.LoadBalancingCluster) (ownership, error) {
	o := ownership{ours: fieldpath.NewSet(), others: fieldpath.NewSet()}
	for i := range cluster.ManagedFields {
		entry := &cluster.ManagedFields[i]
		if entry.FieldsV1 == nil || entry.Subresource != "" {
			continue
		}
		set := fieldpath.NewSet()
		if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			return o, fmt.Errorf("managedFields of LoadBalancingCluster %s, manager %s: %w", cluster.Name, entry.Manager, err)
		}
		if entry.Manager == fieldManager && entry.Operation == metav1.ManagedFieldsOperationApply {
			o.ours = o.ours.Union(set)
		} else {
			o.others = o.others.Union(set)
		}
	}
	return o, nil
}

func desiredStatePath(node string) fieldpath.Path {
	return fieldpath.MakePathOrDie("spec", "hosts", fieldpath.KeyByFields("nodeName", node), "desiredState")
}

func drainTimeoutPath(node string) fieldpath.Path {
	return fieldpath.MakePathOrDie("spec", "hosts", fieldpath.KeyByFields("nodeName", node), "drainTimeoutSeconds")
}

func ruleStatePath(node, rule string) fieldpath.Path {
	return fieldpath.MakePathOrDie("spec", "hosts", fieldpath.KeyByFields("nodeName", node), "rules",
		fieldpath.KeyByFields("name", rule), "state")
}
