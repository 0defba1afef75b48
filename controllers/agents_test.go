// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// startAgent does what the DaemonSet controller and a kubelet do: it makes a pod from the template, which gets ready.
func (c *cluster) startAgent(t *testing.T, ds *appsv1.DaemonSet, node string, ready corev1.ConditionStatus) {
	t.Helper()
	none := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: ds.Name + "-" + node,
			Labels: ds.Spec.Template.Labels, Annotations: ds.Spec.Template.Annotations,
		},
		Spec: corev1.PodSpec{
			NodeName: node, TerminationGracePeriodSeconds: &none,
			Containers: []corev1.Container{{Name: "agent", Image: agentImage}},
		},
	}
	if err := c.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	if err := c.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.IgnoreNotFound(c.Delete(context.Background(), pod)); err != nil {
			t.Error(err)
		}
	})
}

func (c *cluster) agentOf(t *testing.T, ds *appsv1.DaemonSet, node string) error {
	t.Helper()
	return c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: ds.Name + "-" + node}, &corev1.Pod{})
}

func TestAgentsAreReplacedOneAtATime(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "rollout", nil)
	ds := c.waitForAgents(t, "rollout", "node-a", "node-b")
	if ds.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		t.Fatalf("update strategy is %s", ds.Spec.UpdateStrategy.Type)
	}
	c.startAgent(t, ds, "node-a", corev1.ConditionTrue)
	c.startAgent(t, ds, "node-b", corev1.ConditionTrue)

	// Another node is no reason to touch the agents that are there.
	c.node(t, "node-c")
	ds = c.waitForAgents(t, "rollout", "node-a", "node-b", "node-c")
	c.startAgent(t, ds, "node-c", corev1.ConditionTrue)
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		return errors.Join(c.agentOf(t, ds, "node-a"), c.agentOf(t, ds, "node-b"), c.agentOf(t, ds, "node-c"))
	})

	// Another size of the connection table is another agent.
	size := int32(1 << 20)
	before := ds.Generation
	c.update(t, "rollout", func(lbc *v1alpha1.LoadBalancingCluster) { lbc.Spec.Dataplane.MaxConnections = &size })
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		c.waitForReplacement(t, ds, before, node)
		c.startAgent(t, ds, node, corev1.ConditionTrue)
	}
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		return errors.Join(c.agentOf(t, ds, "node-a"), c.agentOf(t, ds, "node-b"), c.agentOf(t, ds, "node-c"))
	})
}

// waitForReplacement waits until the agent of one node was deleted, sees that it stays the only one, and reads the
// DaemonSet that its successor is made from.
func (c *cluster) waitForReplacement(t *testing.T, ds *appsv1.DaemonSet, generation int64, node string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		if err := c.agentOf(t, ds, node); err == nil {
			return fmt.Errorf("the agent on %s is still there", node)
		}
		return nil
	})
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(ds), ds); err != nil {
		t.Fatal(err)
	}
	if ds.Generation == generation {
		t.Fatal("an agent was deleted before the DaemonSet was changed")
	}
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		for _, other := range []string{"node-a", "node-b", "node-c"} {
			if err := c.agentOf(t, ds, other); err != nil && other != node {
				return fmt.Errorf("while the agent on %s is replaced: %w", node, err)
			}
		}
		return nil
	})
}
