// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

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

// writer writes the status of one LoadBalancingHost by server-side apply: news at once, and else every renewInterval.
type writer struct {
	client      rest.Interface
	name        string
	log         *slog.Logger
	latest      chan *v1alpha1.LoadBalancingHostStatus // holds the newest only
	overwritten chan struct{}
	retired     chan struct{} // closed when the host is released
}

func newWriter(client rest.Interface, name string, log *slog.Logger) *writer {
	return &writer{
		client: client, name: name, log: log,
		latest:      make(chan *v1alpha1.LoadBalancingHostStatus, 1),
		overwritten: make(chan struct{}, 1),
		retired:     make(chan struct{}),
	}
}

// report replaces what is to be written.
func (w *writer) report(status *v1alpha1.LoadBalancingHostStatus) {
	for {
		select {
		case w.latest <- status:
			return
		default:
		}
		select {
		case <-w.latest:
		default:
		}
	}
}

func (w *writer) rewrite() {
	select {
	case w.overwritten <- struct{}{}:
	default:
	}
}

func (w *writer) run(ctx context.Context) {
	var current *v1alpha1.LoadBalancingHostStatus
	var written string // what was news in the last status that was written
	var writtenAt, notBefore time.Time
	timer := time.NewTimer(renewInterval)
	defer timer.Stop()
	for {
		select {
		case <-w.retired:
			return
		case <-ctx.Done():
			w.flush(ctx, current, written)
			return
		case current = <-w.latest:
		case <-w.overwritten:
			written = ""
		case <-timer.C:
		}
		now := time.Now()
		due := writtenAt.Add(renewInterval)
		if current != nil && newsOf(current) != written {
			due = notBefore
		}
		if current != nil && !now.Before(due) {
			if err := w.write(ctx, current, now); err != nil {
				w.log.Error("Status not written, trying again", "host", w.name, "error", err)
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
func (w *writer) flush(ctx context.Context, current *v1alpha1.LoadBalancingHostStatus, written string) {
	select {
	case current = <-w.latest:
	default:
	}
	if current == nil || newsOf(current) == written {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := w.write(ctx, current, time.Now()); err != nil {
		w.log.Error("Last status not written", "host", w.name, "error", err)
	}
}

func (w *writer) write(ctx context.Context, status *v1alpha1.LoadBalancingHostStatus, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	status = status.DeepCopy()
	status.RenewTime = &metav1.MicroTime{Time: now}
	lease := int32(leaseSeconds)
	status.LeaseSeconds = &lease
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "LoadBalancingHost",
		"metadata":   map[string]any{"name": w.name},
		"status":     status,
	})
	if err != nil {
		return fmt.Errorf("status of LoadBalancingHost %s: %w", w.name, err)
	}
	err = w.client.Patch(types.ApplyPatchType).Resource(hostResource).Name(w.name).SubResource("status").
		Param("fieldManager", fieldManager).Param("force", "true").Body(body).Do(ctx).Error()
	if err != nil {
		return fmt.Errorf("status of LoadBalancingHost %s: %w", w.name, err)
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
