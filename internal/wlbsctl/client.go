// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	clusterKind     = "LoadBalancingCluster"
	clusterResource = "loadbalancingclusters"
	hostKind        = "LoadBalancingHost"
	hostResource    = "loadbalancinghosts"
)

// client reads our two kinds and events, and applies to clusters. It knows no other type of Kubernetes: that keeps the
// plugin small and quick to start.
type client struct{ wlbs, core rest.Interface }

func newClient(config *rest.Config) (*client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("scheme of %s: %w", v1alpha1.GroupVersion, err)
	}
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("scheme of %s: %w", corev1.SchemeGroupVersion, err)
	}
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	forGroup := func(path string, group schema.GroupVersion) (rest.Interface, error) {
		c := rest.CopyConfig(config)
		c.GroupVersion, c.APIPath, c.NegotiatedSerializer = &group, path, codecs
		c.ContentType = runtime.ContentTypeJSON
		c.QPS = -1 // a person's commands are few; waiting for one's own limit helps nobody
		if c.UserAgent == "" {
			c.UserAgent = "kubectl-wlbs"
		}
		client, err := rest.RESTClientFor(c)
		if err != nil {
			return nil, fmt.Errorf("API client: %w", err)
		}
		return client, nil
	}
	wlbs, err := forGroup("/apis", v1alpha1.GroupVersion)
	if err != nil {
		return nil, err
	}
	core, err := forGroup("/api", corev1.SchemeGroupVersion)
	if err != nil {
		return nil, err
	}
	return &client{wlbs: wlbs, core: core}, nil
}

// installed gives the errors of a first look their meaning. The words are those of wlbs.exe.
func installed(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return fmt.Errorf("WLBS is not installed on this system or you do not have sufficient privileges "+
			"to administer the cluster: %w", err)
	}
	return err
}

// clusters lists all LoadBalancingClusters by name.
func (c *client) clusters(ctx context.Context) ([]v1alpha1.LoadBalancingCluster, error) {
	list := &v1alpha1.LoadBalancingClusterList{}
	if err := c.wlbs.Get().Resource(clusterResource).Do(ctx).Into(list); err != nil {
		return nil, installed(fmt.Errorf("list LoadBalancingClusters: %w", err))
	}
	for i := range list.Items {
		list.Items[i].APIVersion, list.Items[i].Kind = v1alpha1.GroupVersion.String(), clusterKind
	}
	return list.Items, nil
}

// cluster returns one LoadBalancingCluster.
func (c *client) cluster(ctx context.Context, name string) (*v1alpha1.LoadBalancingCluster, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	err := c.wlbs.Get().Resource(clusterResource).Name(name).Do(ctx).Into(cluster)
	switch {
	case apierrors.IsNotFound(err):
		return nil, failf(ExitNotFound, "cluster %s is gone: %w", name, err)
	case err != nil:
		return nil, fmt.Errorf("LoadBalancingCluster %s: %w", name, err)
	}
	return cluster, nil
}

// hosts lists LoadBalancingHosts by cluster and host ID: those of one cluster, or all when cluster is "".
func (c *client) hosts(ctx context.Context, cluster string) ([]v1alpha1.LoadBalancingHost, error) {
	request := c.wlbs.Get().Resource(hostResource)
	if cluster != "" {
		request = request.Param("fieldSelector", fields.OneTermEqualSelector("spec.clusterName", cluster).String())
	}
	list := &v1alpha1.LoadBalancingHostList{}
	if err := request.Do(ctx).Into(list); err != nil {
		return nil, installed(fmt.Errorf("list LoadBalancingHosts: %w", err))
	}
	for i := range list.Items {
		list.Items[i].APIVersion, list.Items[i].Kind = v1alpha1.GroupVersion.String(), hostKind
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.LoadBalancingHost) int {
		if by := strings.Compare(a.Spec.ClusterName, b.Spec.ClusterName); by != 0 {
			return by
		}
		return int(a.Spec.HostID - b.Spec.HostID)
	})
	return list.Items, nil
}

// applyCluster applies to a LoadBalancingCluster as our field manager and returns what came of it.
func (c *client) applyCluster(ctx context.Context, name string, body []byte) (*v1alpha1.LoadBalancingCluster, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	err := c.wlbs.Patch(types.ApplyPatchType).Resource(clusterResource).Name(name).
		Param("fieldManager", fieldManager).Param("force", "true").Body(body).Do(ctx).Into(cluster)
	if err != nil {
		return nil, fmt.Errorf("LoadBalancingCluster %s: %w", name, err)
	}
	return cluster, nil
}

// events lists the events of a cluster and of its hosts, the newest last, at most count of them.
func (c *client) events(ctx context.Context, cluster string, count int) ([]corev1.Event, error) {
	var found []corev1.Event
	for _, kind := range []string{clusterKind, hostKind} {
		selector := fields.Set{"involvedObject.kind": kind}
		if kind == clusterKind {
			selector["involvedObject.name"] = cluster
		}
		list := &corev1.EventList{}
		if err := c.core.Get().Resource("events").Param("fieldSelector", selector.String()).Do(ctx).Into(list); err != nil {
			return nil, fmt.Errorf("list Events: %w", err)
		}
		for i := range list.Items {
			if e := &list.Items[i]; kind == clusterKind || strings.HasPrefix(e.InvolvedObject.Name, cluster+".") {
				found = append(found, *e)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	return found[max(0, len(found)-count):], nil
}

// eventTime is when an event was last seen. Of the two APIs for events each leaves other fields unset.
func eventTime(e *corev1.Event) time.Time {
	switch {
	case e.Series != nil && !e.Series.LastObservedTime.IsZero():
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}
