// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// ManagedBy is the value of the label app.kubernetes.io/managed-by on what the manager creates.
const ManagedBy = "wlbs-manager"

// The usual labels, see https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/.
const (
	NameLabel      = "app.kubernetes.io/name"
	ManagedByLabel = "app.kubernetes.io/managed-by"
)

// ApplyConfiguration turns an object of our API into what server-side apply takes. All optional fields of our types
// are omitted when unset, so a zero value cannot be mistaken for a wish.
func ApplyConfiguration(kind, name string, sections map[string]any) (runtime.ApplyConfiguration, error) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(v1alpha1.GroupVersion.String())
	u.SetKind(kind)
	u.SetName(name)
	for section, value := range sections {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(value)
		if err != nil {
			return nil, fmt.Errorf("%s of %s %s: %w", section, kind, name, err)
		}
		u.Object[section] = content
	}
	return client.ApplyConfigurationFromUnstructured(u), nil
}

// ApplyStatus applies the fields of status that owner sets. With a resourceVersion the write fails with a conflict
// when somebody wrote in between, which tells the caller that it looked at an old object.
func ApplyStatus(
	ctx context.Context, c client.Client, kind, name, resourceVersion string, status any, owner client.FieldOwner,
) error {
	sections := map[string]any{"status": status}
	if resourceVersion != "" {
		sections["metadata"] = &metav1.ObjectMeta{Name: name, ResourceVersion: resourceVersion}
	}
	config, err := ApplyConfiguration(kind, name, sections)
	if err != nil {
		return err
	}
	if err := c.Status().Apply(ctx, config, owner, client.ForceOwnership); err != nil {
		return fmt.Errorf("status of %s %s: %w", kind, name, err)
	}
	return nil
}

// OwnerReference makes the garbage collector remove an object after its cluster is gone. It does not block: with
// "kubectl delete --cascade=foreground" the collector would else remove the agents before they have torn down.
func OwnerReference(cluster *v1alpha1.LoadBalancingCluster) metav1.OwnerReference {
	controller, block := true, false
	return metav1.OwnerReference{
		APIVersion:         v1alpha1.GroupVersion.String(),
		Kind:               ClusterKind,
		Name:               cluster.Name,
		UID:                cluster.UID,
		Controller:         &controller,
		BlockOwnerDeletion: &block,
	}
}

// The kinds of our API.
const (
	ClusterKind = "LoadBalancingCluster"
	HostKind    = "LoadBalancingHost"
)

// HostsOf lists the LoadBalancingHosts of a cluster.
func HostsOf(ctx context.Context, c client.Client, cluster string) ([]v1alpha1.LoadBalancingHost, error) {
	var list v1alpha1.LoadBalancingHostList
	if err := c.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list LoadBalancingHosts: %w", err)
	}
	hosts := make([]v1alpha1.LoadBalancingHost, 0, len(list.Items))
	for i := range list.Items {
		if list.Items[i].Spec.ClusterName == cluster {
			hosts = append(hosts, list.Items[i])
		}
	}
	return hosts, nil
}
