// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	// fieldManager owns a LoadBalancingHost's status.
	fieldManager = "wlbs-agent"
	// renewInterval is how often an unchanged status is written: what a cluster in steady state costs the API server.
	renewInterval = 30 * time.Second
	// leaseSeconds is how long a report holds: three renewals may fail.
	leaseSeconds = 90
	// minWriteInterval joins the changes of one convergence into few writes.
	minWriteInterval = 200 * time.Millisecond
	// writeRetry is the wait after a failed write.
	writeRetry = time.Second
	// writeTimeout bounds one request, so that a hanging API server is noticed.
	writeTimeout = 10 * time.Second
	// flushTimeout bounds the last write of an agent that ends.
	flushTimeout = 3 * time.Second
)

// Sink writes the status of this node's LoadBalancingHost by server-side apply.
type Sink struct {
	client        rest.Interface
	cluster, node string
	log           *slog.Logger
	latest        chan *v1alpha1.LoadBalancingHostStatus
	overwritten   chan struct{}
}

// NewSink returns a sink for the node's LoadBalancingHost of the cluster.
func NewSink(client rest.Interface, cluster, node string, log *slog.Logger) *Sink {
	return &Sink{
		client: client, cluster: cluster, node: node, log: log,
		latest:      make(chan *v1alpha1.LoadBalancingHostStatus, 1),
		overwritten: make(chan struct{}, 1),
	}
}

func (s *Sink) name() string { return v1alpha1.HostObjectName(s.cluster, s.node) }

// Report implements agent.Sink.
func (s *Sink) Report(status *v1alpha1.LoadBalancingHostStatus) {
	for {
		select {
		case s.latest <- status:
			return
		default:
		}
		select {
		case <-s.latest:
		default:
		}
	}
}

// Rewrite says that somebody wrote over the status: it is written again though it is no news.
func (s *Sink) Rewrite() {
	select {
	case s.overwritten <- struct{}{}:
	default:
	}
}

// Run implements agent.Sink: it writes a status that differs at once, and else every renewInterval.
func (s *Sink) Run(ctx context.Context) error {
	var current *v1alpha1.LoadBalancingHostStatus
	var written string // what was news in the last status that was written
	var writtenAt, notBefore time.Time
	timer := time.NewTimer(renewInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.flush(ctx, current, written)
			return nil
		case current = <-s.latest:
		case <-s.overwritten:
			written = ""
		case <-timer.C:
		}
		now := time.Now()
		due := writtenAt.Add(renewInterval)
		if current != nil && newsOf(current) != written {
			due = notBefore
		}
		if current != nil && !now.Before(due) {
			if err := s.write(ctx, current, now); err != nil {
				s.log.Error("Status not written, trying again", "host", s.name(), "error", err)
				notBefore = now.Add(writeRetry)
				written = ""
			} else {
				written, writtenAt = newsOf(current), now
				notBefore = now.Add(minWriteInterval)
			}
			due = notBefore
			if written != "" {
				due = writtenAt.Add(renewInterval)
			}
		}
		timer.Reset(max(time.Until(due), time.Millisecond))
	}
}

// flush writes an ending agent's last words, if they were not written yet.
func (s *Sink) flush(ctx context.Context, current *v1alpha1.LoadBalancingHostStatus, written string) {
	select {
	case current = <-s.latest:
	default:
	}
	if current == nil || newsOf(current) == written {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := s.write(ctx, current, time.Now()); err != nil {
		s.log.Error("Last status not written", "host", s.name(), "error", err)
	}
}

func (s *Sink) write(ctx context.Context, status *v1alpha1.LoadBalancingHostStatus, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	status = status.DeepCopy()
	status.RenewTime = &metav1.MicroTime{Time: now}
	lease := int32(leaseSeconds)
	status.LeaseSeconds = &lease
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "LoadBalancingHost",
		"metadata":   map[string]any{"name": s.name()},
		"status":     status,
	})
	if err != nil {
		return fmt.Errorf("status of LoadBalancingHost %s: %w", s.name(), err)
	}
	err = s.client.Patch(types.ApplyPatchType).Resource(hostResource).Name(s.name()).SubResource("status").
		Param("fieldManager", fieldManager).Param("force", "true").Body(body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("status of LoadBalancingHost %s: %w", s.name(), err)
	}
	return nil
}

// newsOf returns what is worth a write of its own in a status: all but what counts up by itself.
func newsOf(s *v1alpha1.LoadBalancingHostStatus) string {
	s = s.DeepCopy()
	s.Traffic = v1alpha1.HostTraffic{}
	s.RenewTime, s.LeaseSeconds = nil, nil
	if s.Stall != nil {
		s.Stall.Message = ""
	}
	content, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Released implements agent.Sink: it removes the finalizer that kept the object until the node was clean.
func (s *Sink) Released(ctx context.Context) error {
	for {
		host := &v1alpha1.LoadBalancingHost{}
		err := s.client.Get().Resource(hostResource).Name(s.name()).Do(ctx).Into(host)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", s.name(), err)
		}
		kept := slices.DeleteFunc(slices.Clone(host.Finalizers), func(f string) bool { return f == v1alpha1.Finalizer })
		if len(kept) == len(host.Finalizers) {
			return nil
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{
			"resourceVersion": host.ResourceVersion, "uid": host.UID, "finalizers": kept,
		}})
		if err != nil {
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", s.name(), err)
		}
		err = s.client.Patch(types.MergePatchType).Resource(hostResource).Name(s.name()).
			Param("fieldManager", fieldManager).Body(body).Do(ctx).Error()
		switch {
		case apierrors.IsConflict(err):
			continue
		case err != nil && !apierrors.IsNotFound(err):
			return fmt.Errorf("finalizer of LoadBalancingHost %s: %w", s.name(), err)
		}
		return nil
	}
}
