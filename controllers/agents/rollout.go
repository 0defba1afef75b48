// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
)

// revisionAnnotation is on an agent's pod and says what the pod was made from, the choice of nodes aside.
const revisionAnnotation = "wlbs.dev/agent-revision"

// stuckAfter is how long after its deletion should have been over a pod is taken for one that nobody will remove, because its
// node is dead: it does not hold up the others.
const stuckAfter = 30 * time.Second

// agentRevision identifies a pod spec.
func agentRevision(spec *corev1ac.PodSpecApplyConfiguration) string {
	content, err := json.Marshal(spec)
	if err != nil {
		// Such a spec could not be applied either.
		return err.Error()
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// rollOut replaces the agents of another revision, one at a time: an agent that is replaced announces a hold, and its peers
// wait for it. The next pod's becoming ready brings us here again.
func (r *Reconciler) rollOut(ctx context.Context, cluster, revision string, wanted int) (ctrl.Result, error) {
	var pods corev1.PodList
	if err := r.Client.List(ctx, &pods, client.InNamespace(r.Namespace), client.MatchingLabels(agentSelector(cluster))); err != nil {
		return ctrl.Result{}, fmt.Errorf("list agents of %s: %w", cluster, err)
	}
	pod, again := nextToReplace(pods.Items, revision, wanted, time.Now())
	if pod == nil {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	if err := client.IgnoreNotFound(r.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})); err != nil {
		return ctrl.Result{}, fmt.Errorf("replace agent %s: %w", pod.Name, err)
	}
	logf.FromContext(ctx).Info("Replacing an agent", "pod", pod.Name, "node", pod.Spec.NodeName, "revision", revision)
	return ctrl.Result{}, nil
}

// nextToReplace returns the pod to replace now, or nil. An outdated agent that is not ready is replaced at once, for that costs
// nothing and may be the cure. One that is ready has its turn when all wanted agents are there and those of the new
// revision are ready, so that a revision that does not work stops at the first node. again is when to look again
// although nothing changes, zero for never.
func nextToReplace(pods []corev1.Pod, revision string, wanted int, now time.Time) (pod *corev1.Pod, again time.Duration) {
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	var broken, outdated *corev1.Pod
	busy := len(pods) < wanted
	for i := range pods {
		p := &pods[i]
		isNew := p.Annotations[revisionAnnotation] == revision
		switch {
		case !p.DeletionTimestamp.IsZero():
			if left := p.DeletionTimestamp.Add(stuckAfter).Sub(now); left > 0 {
				busy = true
				again = max(again, left)
			}
		case isNew:
			busy = busy || !podReady(p)
		case !podReady(p) && broken == nil:
			broken = p
		case outdated == nil:
			outdated = p
		}
	}
	switch {
	case broken != nil:
		return broken, 0
	case outdated != nil && !busy:
		return outdated, 0
	case outdated == nil:
		return nil, 0
	}
	return nil, again
}

func podReady(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
