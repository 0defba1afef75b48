// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
)

// Pod is the pod that an agent runs in.
type Pod struct {
	// Client reaches the API server.
	Client rest.Interface
	// Namespace, Name and UID are the pod's, DaemonSet is the name of what made it.
	Namespace, Name, UID, DaemonSet string
}

const (
	// askTimeout bounds one question, askRetry is the wait after one that got no answer.
	askTimeout = time.Second
	askRetry   = 100 * time.Millisecond
)

// Ending says what follows when the agent is asked to end. A container is asked to end for many reasons, and what tells
// them apart is who wants it: a pod that is replaced, by an upgrade, by kubectl or by an eviction, was deleted in the
// API before, and its DaemonSet is there to make the next one. When the node shuts down, in whatever way, nobody
// deleted the pod: systemd ends its processes, or the kubelet does on its own (graceful node shutdown). It is that, and
// not a sign of a shutdown that each init system and each kind of shutdown gives in another way, which is looked for.
func (p *Pod) Ending(ctx context.Context) (ending host.Ending, why string) {
	pod, err := p.object(ctx, "/api/v1/namespaces", p.Namespace, "pods", p.Name)
	switch {
	case err != nil:
		return host.EndingShutdown, fmt.Sprintf("the agent was asked to end, and cannot find out why: %v", err)
	case pod != nil && string(pod.UID) == p.UID && pod.DeletionTimestamp.IsZero():
		return host.EndingShutdown, "the node shuts down, or ends the agent's container on its own"
	}
	daemonSet, err := p.object(ctx, "/apis/apps/v1/namespaces", p.Namespace, "daemonsets", p.DaemonSet)
	switch {
	case err != nil:
		return host.EndingShutdown,
			fmt.Sprintf("the agent's pod was deleted, and whether another follows is unknown: %v", err)
	case daemonSet == nil || !daemonSet.DeletionTimestamp.IsZero():
		return host.EndingRemoval, fmt.Sprintf("the agent's pod and DaemonSet %s/%s were deleted", p.Namespace, p.DaemonSet)
	}
	return host.EndingRestart, "the agent's pod is replaced"
}

// object returns the metadata of an object, nil if there is none. It asks until there is an answer or ctx ends.
func (p *Pod) object(ctx context.Context, path ...string) (*metav1.ObjectMeta, error) {
	for {
		object, err := p.ask(ctx, path)
		switch {
		case err == nil:
			return object, nil
		case apierrors.IsNotFound(err):
			return nil, nil
		case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(askRetry):
		}
	}
}

func (p *Pod) ask(ctx context.Context, path []string) (*metav1.ObjectMeta, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	content, err := p.Client.Get().AbsPath(path...).
		SetHeader("Accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json").Do(ctx).Raw()
	if err != nil {
		return nil, err
	}
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(content, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", path[len(path)-1], err)
	}
	return &object.ObjectMeta, nil
}
