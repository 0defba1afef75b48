// SPDX-License-Identifier: Apache-2.0

// Package kube connects an agent to Kubernetes: its configs come from the LoadBalancingClusters and the
// LoadBalancingHosts of its node, its status goes to the latter.
package kube

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// Source watches all LoadBalancingClusters, and the LoadBalancingHosts of one node.
type Source struct {
	Client rest.Interface
	// Node is the node's name.
	Node string
	// Overwritten is called with the cluster's name when the manager set a host's state to Unknown, for this agent seemed
	// dead; nil for nothing.
	Overwritten func(cluster string)
	Log         *slog.Logger
}

// Run implements agent.Source. Nothing is delivered before both kinds were listed once.
func (s *Source) Run(ctx context.Context, deliver func([]plan.Config)) error {
	var mu sync.Mutex // serialises the two informers' handlers
	var synced bool
	var clusters, hosts cache.Store
	update := func() {
		mu.Lock()
		defer mu.Unlock()
		if synced {
			deliver(configs(clusters, hosts))
		}
	}
	clusters, clusterInformer := s.informer(clusterResource, fields.Everything(), &v1alpha1.LoadBalancingCluster{}, update)
	hosts, hostInformer := s.informer(hostResource, fields.OneTermEqualSelector("spec.nodeName", s.Node),
		&v1alpha1.LoadBalancingHost{}, update)

	var wg sync.WaitGroup
	for _, i := range []cache.Controller{clusterInformer, hostInformer} {
		wg.Go(func() { i.Run(ctx.Done()) })
	}
	if cache.WaitForCacheSync(ctx.Done(), clusterInformer.HasSynced, hostInformer.HasSynced) {
		mu.Lock()
		synced = true
		mu.Unlock()
		update()
	}
	wg.Wait()
	return nil
}

// configs are those of all hosts of the node, by the clusters' creation times, then names. A host whose cluster is not
// known, and that is not deleted, is left out: the cluster is new, and its event follows that of the host.
func configs(clusters, hosts cache.Store) []plan.Config {
	byName := map[string]*v1alpha1.LoadBalancingCluster{}
	for _, o := range clusters.List() {
		if c, ok := o.(*v1alpha1.LoadBalancingCluster); ok {
			byName[c.Name] = c
		}
	}
	var out []plan.Config
	for _, o := range hosts.List() {
		h, ok := o.(*v1alpha1.LoadBalancingHost)
		if !ok {
			continue
		}
		cluster := byName[h.Spec.ClusterName]
		if cluster == nil && h.DeletionTimestamp.IsZero() {
			continue
		}
		out = append(out, plan.Config{Cluster: cluster.DeepCopy(), Host: h.DeepCopy()})
	}
	slices.SortFunc(out, func(a, b plan.Config) int {
		return cmp.Or(createdAt(a).Compare(createdAt(b)), strings.Compare(a.Host.Spec.ClusterName, b.Host.Spec.ClusterName))
	})
	return out
}

// createdAt is when the cluster was made, the zero time if that is unknown.
func createdAt(c plan.Config) time.Time {
	if c.Cluster == nil {
		return time.Time{}
	}
	return c.Cluster.CreationTimestamp.Time
}

func (s *Source) informer(
	resource string, which fields.Selector, example runtime.Object, update func(),
) (cache.Store, cache.Controller) {
	return cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(s.Client, resource, metav1.NamespaceAll, which),
		ObjectType:    example,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { update() },
			UpdateFunc: func(before, after any) {
				if specChanged(before, after) {
					update()
				}
				if h, ok := becameUnknown(before, after); ok && s.Overwritten != nil {
					s.Overwritten(h.Spec.ClusterName)
				}
			},
			DeleteFunc: func(any) { update() },
		},
	})
}

func becameUnknown(before, after any) (*v1alpha1.LoadBalancingHost, bool) {
	b, okB := before.(*v1alpha1.LoadBalancingHost)
	a, okA := after.(*v1alpha1.LoadBalancingHost)
	return a, okA && okB && a.Status.State == v1alpha1.HostUnknown && b.Status.State != v1alpha1.HostUnknown
}

// specChanged keeps the agents' own status writes from coming back as news.
func specChanged(before, after any) bool {
	b, okB := before.(metav1.Object)
	a, okA := after.(metav1.Object)
	return !okA || !okB || a.GetUID() != b.GetUID() || a.GetGeneration() != b.GetGeneration() ||
		a.GetDeletionTimestamp().IsZero() != b.GetDeletionTimestamp().IsZero()
}
