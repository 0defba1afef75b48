// SPDX-License-Identifier: Apache-2.0

// Package kube connects an agent to Kubernetes: its config comes from two objects of the
// wlbs.dev group, its status goes to one of them.
package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

const (
	clusterResource = "loadbalancingclusters"
	hostResource    = "loadbalancinghosts"
)

// NewClient returns a client for the wlbs.dev group and nothing else: an agent needs
// two objects, and the clients that know every type of Kubernetes cost tens of MiB.
func NewClient(config *rest.Config) (rest.Interface, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("scheme of %s: %w", v1alpha1.GroupVersion, err)
	}
	config = rest.CopyConfig(config)
	config.GroupVersion = &v1alpha1.GroupVersion
	config.APIPath = "/apis"
	config.ContentType = runtime.ContentTypeJSON
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	client, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("API client: %w", err)
	}
	return client, nil
}

// Source watches one LoadBalancingCluster and this node's LoadBalancingHost.
type Source struct {
	Client rest.Interface
	// Cluster and Node name the two objects.
	Cluster, Node string
	// Overwritten is called when the manager set the host's state to Unknown, for this agent seemed dead; nil for nothing.
	Overwritten func()
	Log         *slog.Logger
}

// Run implements the agent's Source. Nothing is delivered before both objects were listed once.
func (s *Source) Run(ctx context.Context, deliver func(plan.Config)) error {
	var mu sync.Mutex // serialises the two informers' handlers
	var synced bool
	var clusters, hosts cache.Store
	hostName := v1alpha1.HostObjectName(s.Cluster, s.Node)
	update := func() {
		mu.Lock()
		defer mu.Unlock()
		if !synced {
			return
		}
		var d plan.Config
		if cluster, ok := stored[*v1alpha1.LoadBalancingCluster](clusters); ok {
			d.Cluster = cluster.DeepCopy()
		}
		if host, ok := stored[*v1alpha1.LoadBalancingHost](hosts); ok {
			d.Host = host.DeepCopy()
		}
		deliver(d)
	}
	clusters, clusterInformer := s.informer(clusterResource, s.Cluster, &v1alpha1.LoadBalancingCluster{}, update)
	hosts, hostInformer := s.informer(hostResource, hostName, &v1alpha1.LoadBalancingHost{}, update)

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

func (s *Source) informer(resource, name string, example runtime.Object, update func()) (cache.Store, cache.Controller) {
	lw := cache.NewListWatchFromClient(s.Client, resource, metav1.NamespaceAll, fields.OneTermEqualSelector("metadata.name", name))
	return cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lw,
		ObjectType:    example,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { update() },
			UpdateFunc: func(before, after any) {
				if specChanged(before, after) {
					update()
				}
				if s.Overwritten != nil && becameUnknown(before, after) {
					s.Overwritten()
				}
			},
			DeleteFunc: func(any) { update() },
		},
	})
}

// stored returns the one object that a store may have.
func stored[T any](store cache.Store) (object T, ok bool) {
	for _, o := range store.List() {
		object, ok = o.(T)
	}
	return object, ok
}

func becameUnknown(before, after any) bool {
	b, okB := before.(*v1alpha1.LoadBalancingHost)
	a, okA := after.(*v1alpha1.LoadBalancingHost)
	return okA && okB && a.Status.State == v1alpha1.HostUnknown && b.Status.State != v1alpha1.HostUnknown
}

// specChanged keeps the agent's own status writes from coming back as news.
func specChanged(before, after any) bool {
	b, okB := before.(metav1.Object)
	a, okA := after.(metav1.Object)
	return !okA || !okB || a.GetUID() != b.GetUID() || a.GetGeneration() != b.GetGeneration() ||
		a.GetDeletionTimestamp().IsZero() != b.GetDeletionTimestamp().IsZero()
}
