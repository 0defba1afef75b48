// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
)

// Sink writes the status of the node's LoadBalancingHosts. Each host has a writer of its own: none waits for another
// one's.
type Sink struct {
	client rest.Interface
	node   string
	log    *slog.Logger

	mu      sync.Mutex
	writers map[string]*writer // by cluster, until the host is released
	fresh   chan *writer
}

// maxFresh is how many writers may wait to be started; more are rare, and wait where they are made.
const maxFresh = 64

// NewSink returns a sink for the node's LoadBalancingHosts.
func NewSink(client rest.Interface, node string, log *slog.Logger) *Sink {
	return &Sink{client: client, node: node, log: log, writers: map[string]*writer{}, fresh: make(chan *writer, maxFresh)}
}

// Expect implements agent.Sink.
func (s *Sink) Expect([]string) {}

// Report implements agent.Sink.
func (s *Sink) Report(report host.Report) {
	s.writer(report.Host.Spec.ClusterName).report(&report.Host.Status)
}

// Rewrite says that somebody wrote over the status of a cluster's host: it is written again though it is no news.
func (s *Sink) Rewrite(cluster string) { s.writer(cluster).rewrite() }

func (s *Sink) writer(cluster string) *writer {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writers[cluster]
	if w == nil {
		w = newWriter(s.client, v1alpha1.HostObjectName(cluster, s.node), s.log)
		s.writers[cluster] = w
		s.fresh <- w
	}
	return w
}

// Run implements agent.Sink. It ends when the last words of all hosts were written, or could not be.
func (s *Sink) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case w := <-s.fresh:
			running.Go(func() { w.run(ctx) })
		case <-ctx.Done():
			for len(s.fresh) > 0 {
				(<-s.fresh).run(ctx)
			}
			return nil
		}
	}
}

// Released implements agent.Sink: it removes the finalizer that kept the object until the node was clean.
func (s *Sink) Released(ctx context.Context, cluster string) error {
	name := v1alpha1.HostObjectName(cluster, s.node)
	for {
		found := &v1alpha1.LoadBalancingHost{}
		err := s.client.Get().Resource(hostResource).Name(name).Do(ctx).Into(found)
		if apierrors.IsNotFound(err) {
			s.retire(cluster)
			return nil
		}
		if err != nil {
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", name, err)
		}
		kept := slices.DeleteFunc(slices.Clone(found.Finalizers), func(f string) bool { return f == v1alpha1.Finalizer })
		if len(kept) == len(found.Finalizers) || found.DeletionTimestamp.IsZero() {
			s.retire(cluster)
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": found.ResourceVersion, "uid": found.UID, "finalizers": kept,
		}})
		if err != nil {
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", name, err)
		}
		err = s.client.Patch(types.MergePatchType).Resource(hostResource).Name(name).
			Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
		switch {
		case apierrors.IsConflict(err):
			continue
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", name, err)
		}
		s.retire(cluster)
		return nil
	}
}

// retire ends the writer of a host that is released.
func (s *Sink) retire(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.writers[cluster]; w != nil {
		close(w.retired)
		delete(s.writers, cluster)
	}
}
