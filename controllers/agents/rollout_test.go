// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func agentPod(name, revision string, ready bool) corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{revisionAnnotation: revision}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

func goingSince(p corev1.Pod, ago time.Duration) corev1.Pod {
	p.DeletionTimestamp = &metav1.Time{Time: testNow.Add(-ago)}
	return p
}

func TestNextToReplace(t *testing.T) {
	const ready, notReady = true, false
	for _, tc := range []struct {
		name   string
		pods   []corev1.Pod
		wanted int
		want   string
		again  time.Duration
	}{
		{name: "none", wanted: 2},
		{name: "all new", pods: []corev1.Pod{agentPod("a", "new", ready), agentPod("b", "new", notReady)}, wanted: 2},
		{name: "first of two", pods: []corev1.Pod{agentPod("b", "old", ready), agentPod("a", "old", ready)}, wanted: 2, want: "a"},
		{name: "first is on its way out", pods: []corev1.Pod{goingSince(agentPod("a", "old", ready), 0), agentPod("b", "old", ready)}, wanted: 2, again: stuckAfter},
		{name: "first is gone and its successor not there yet", pods: []corev1.Pod{agentPod("b", "old", ready)}, wanted: 2},
		{name: "successor is not ready", pods: []corev1.Pod{agentPod("a", "new", notReady), agentPod("b", "old", ready)}, wanted: 2},
		{name: "successor is ready", pods: []corev1.Pod{agentPod("a", "new", ready), agentPod("b", "old", ready)}, wanted: 2, want: "b"},
		{name: "a broken old one first", pods: []corev1.Pod{agentPod("a", "old", ready), agentPod("b", "old", notReady)}, wanted: 2, want: "b"},
		{name: "a broken old one though a new one is not ready", pods: []corev1.Pod{agentPod("a", "new", notReady), agentPod("b", "old", notReady)}, wanted: 2, want: "b"},
		{name: "a dead node holds up nobody", pods: []corev1.Pod{goingSince(agentPod("a", "old", notReady), time.Minute), agentPod("b", "old", ready)}, wanted: 2, want: "b"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, again := nextToReplace(tc.pods, "new", tc.wanted, testNow)
			name := ""
			if got != nil {
				name = got.Name
			}
			if name != tc.want || again != tc.again {
				t.Errorf("replaces %q, looks again in %s, want %q and %s", name, again, tc.want, tc.again)
			}
		})
	}
}

// Which nodes have agents must not matter to the agents that are there; what they run must.
func TestAgentRevision(t *testing.T) {
	revision := func(c *v1alpha1.LoadBalancingCluster, image string, nodes ...string) string {
		return agentDaemonSet(c, "system", image, nodes).Spec.Template.Annotations[revisionAnnotation]
	}
	larger := testCluster()
	larger.Spec.Dataplane.MaxConnections = new(int32(1 << 20))
	base := revision(testCluster(), "agent:1", "node-a")
	if got := revision(testCluster(), "agent:1", "node-a", "node-b"); got != base {
		t.Error("another node makes another revision: all agents would be restarted")
	}
	if revision(testCluster(), "agent:2", "node-a") == base || revision(larger, "agent:1", "node-a") == base {
		t.Error("another image or size makes no other revision: agents would not be updated")
	}
}
