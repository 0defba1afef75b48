// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

func (c *cluster) waitForCondition(t *testing.T, cluster, conditionType string, status metav1.ConditionStatus, reason string) *metav1.Condition {
	t.Helper()
	var found *metav1.Condition
	kubetest.Eventually(t, func() error {
		lbc := c.getCluster(t, cluster)
		for i := range lbc.Status.Conditions {
			if cond := &lbc.Status.Conditions[i]; cond.Type == conditionType {
				if cond.Status != status || cond.Reason != reason {
					return fmt.Errorf("%s is %s/%s (%s), want %s/%s", conditionType, cond.Status, cond.Reason, cond.Message, status, reason)
				}
				found = cond
				return nil
			}
		}
		return fmt.Errorf("no condition %s", conditionType)
	})
	return found
}

// waitForEvent waits for an Event about the object of that name and returns its note.
func (c *cluster) waitForEvent(t *testing.T, name, reason string) string {
	t.Helper()
	var note string
	kubetest.Eventually(t, func() error {
		events := c.events(t, name, reason)
		if len(events) == 0 {
			return fmt.Errorf("no event %s of %s", reason, name)
		}
		note = events[0].Note
		return nil
	})
	return note
}

func (c *cluster) events(t *testing.T, name, reason string) []eventsv1.Event {
	t.Helper()
	scheme := scheme(t)
	if err := eventsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	reader, err := client.New(c.admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	var list eventsv1.EventList
	if err := reader.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(e eventsv1.Event) bool { return e.Regarding.Name != name || e.Reason != reason })
}

func TestHostsFollowNodes(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.node(t, "node-c")
	c.node(t, "control", corev1.Taint{Key: "node-role.kubernetes.io/control-plane", Effect: corev1.TaintEffectNoSchedule})
	lbc := c.lbc(t, "follow", nil)

	c.waitForHosts(t, "follow", "node-a:1", "node-b:2", "node-c:3")
	c.waitForCondition(t, "follow", v1alpha1.ConditionHostsAssigned, metav1.ConditionTrue, v1alpha1.ReasonAllAssigned)
	c.checkHostObject(t, lbc, "node-a")

	// A node that is no longer selected keeps its agent until that has torn down, and its ID until then.
	node := &corev1.Node{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "node-a"}, node); err != nil {
		t.Fatal(err)
	}
	node.Labels[poolLabel] = "no"
	if err := c.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "follow", "node-a:1-", "node-b:2", "node-c:3")
	c.node(t, "node-d")
	c.waitForHosts(t, "follow", "node-a:1-", "node-b:2", "node-c:3", "node-d:4")
	c.tearDown(t, "follow", "node-a")
	c.waitForHosts(t, "follow", "node-b:2", "node-c:3", "node-d:4")

	// A node that is gone cannot tear down: the manager lets its host go, and the ID is free for the next one.
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-c"}}); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "follow", "node-b:2", "node-d:4")
	c.node(t, "node-e")
	c.waitForHosts(t, "follow", "node-b:2", "node-d:4", "node-e:1")
	c.node(t, "node-f")
	c.waitForHosts(t, "follow", "node-b:2", "node-d:4", "node-e:1", "node-f:3")
}

func (c *cluster) checkHostObject(t *testing.T, lbc *v1alpha1.LoadBalancingCluster, node string) {
	t.Helper()
	host := &v1alpha1.LoadBalancingHost{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: v1alpha1.HostObjectName(lbc.Name, node)}, host); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(host.Finalizers, []string{v1alpha1.Finalizer}) || host.Spec.DesiredState != v1alpha1.DesiredStateStarted ||
		host.Labels[v1alpha1.ClusterLabel] != lbc.Name {
		t.Errorf("host %s: %+v", host.Name, host)
	}
	owners := host.OwnerReferences
	if len(owners) != 1 || owners[0].UID != lbc.UID || !*owners[0].Controller || *owners[0].BlockOwnerDeletion {
		t.Errorf("owners of %s: %+v", host.Name, owners)
	}
}

func TestHostSettings(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "settings", nil)
	c.waitForHosts(t, "settings", "node-a:1", "node-b:2")

	weight, one := int32(30), int32(1)
	c.update(t, "settings", func(lbc *v1alpha1.LoadBalancingCluster) {
		lbc.Spec.Hosts = []v1alpha1.HostConfig{{
			NodeName: "node-b", HostID: &one, DesiredState: v1alpha1.DesiredStateStopped,
			Rules: []v1alpha1.HostRule{{Name: "all", LoadWeight: &weight}},
		}}
	})
	c.waitForHosts(t, "settings", "node-a:2", "node-b:1")
	host := &v1alpha1.LoadBalancingHost{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "settings.node-b"}, host); err != nil {
		t.Fatal(err)
	}
	if host.Spec.DesiredState != v1alpha1.DesiredStateStopped || len(host.Spec.Rules) != 1 || *host.Spec.Rules[0].LoadWeight != weight {
		t.Errorf("settings of node-b: %+v", host.Spec)
	}

	c.update(t, "settings", func(lbc *v1alpha1.LoadBalancingCluster) { lbc.Spec.Hosts = nil })
	kubetest.Eventually(t, func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Name: "settings.node-b"}, host); err != nil {
			return err
		}
		if host.Spec.DesiredState != v1alpha1.DesiredStateStarted || host.Spec.Rules != nil {
			return fmt.Errorf("settings of node-b are still %+v", host.Spec)
		}
		return nil
	})
	if host.Spec.HostID != 1 {
		t.Errorf("node-b lost the ID it had: %d", host.Spec.HostID)
	}
}

func TestClusterDeletionWaitsForAgents(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	lbc := c.lbc(t, "deletion", nil)
	c.waitForHosts(t, "deletion", "node-a:1", "node-b:2")

	if err := c.Delete(t.Context(), lbc); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "deletion", "node-a:1-", "node-b:2-")
	ready := c.waitForCondition(t, "deletion", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonDeleting)
	if !strings.Contains(ready.Message, "node-a, node-b") {
		t.Errorf("message does not name the hosts that are waited for: %s", ready.Message)
	}
	c.tearDown(t, "deletion", "node-a")
	c.waitForHosts(t, "deletion", "node-b:2-")
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		return c.Get(t.Context(), client.ObjectKeyFromObject(lbc), &v1alpha1.LoadBalancingCluster{})
	})
	c.tearDown(t, "deletion", "node-b")
	kubetest.Eventually(t, func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(lbc), &v1alpha1.LoadBalancingCluster{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("the cluster is still there"), err)
	})
}

func TestHostOfNodeThatIsNotReady(t *testing.T) {
	c := start(t, 2*time.Second)
	c.node(t, "node-a")
	c.node(t, "node-b")
	lbc := c.lbc(t, "notready", nil)
	c.waitForHosts(t, "notready", "node-a:1", "node-b:2")

	// Not ready alone is no reason: its data path may be sound.
	c.setReady(t, "node-b", corev1.ConditionUnknown)
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		if got := c.hosts(t, "notready"); !slices.Equal(got, []string{"node-a:1", "node-b:2"}) {
			return fmt.Errorf("hosts are %v", got)
		}
		return nil
	})
	if err := c.Delete(t.Context(), lbc); err != nil {
		t.Fatal(err)
	}
	// node-a is ready, so its agent is waited for however long it takes.
	c.waitForHosts(t, "notready", "node-a:1-")
	note := c.waitForEvent(t, "notready", "HostRemovedUncleanly")
	for _, want := range []string{"node-b", "wlbs-agent cleanup --cluster notready"} {
		if !strings.Contains(note, want) {
			t.Errorf("event %q does not say %q", note, want)
		}
	}
}

func TestTooManyNodes(t *testing.T) {
	c := start(t, 0)
	for i := range 34 {
		c.node(t, fmt.Sprintf("node-%02d", i))
	}
	c.lbc(t, "many", nil)
	condition := c.waitForCondition(t, "many", v1alpha1.ConditionHostsAssigned, metav1.ConditionFalse, v1alpha1.ReasonTooManyNodes)
	if !strings.Contains(condition.Message, "node-32, node-33") {
		t.Errorf("message does not name the nodes without an ID: %s", condition.Message)
	}
	if got := len(c.hosts(t, "many")); got != 32 {
		t.Errorf("%d hosts, want 32", got)
	}
	c.waitForEvent(t, "many", v1alpha1.ReasonTooManyNodes)
}

func TestInvalidNodeSelectorRemovesNobody(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "selector", nil)
	c.waitForHosts(t, "selector", "node-a:1")
	c.update(t, "selector", func(lbc *v1alpha1.LoadBalancingCluster) {
		lbc.Spec.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: poolLabel, Operator: "Is"}}}
	})
	c.waitForCondition(t, "selector", v1alpha1.ConditionHostsAssigned, metav1.ConditionFalse, v1alpha1.ReasonInvalidNodeSelector)
	if got := c.hosts(t, "selector"); !slices.Equal(got, []string{"node-a:1"}) {
		t.Errorf("hosts are %v", got)
	}
}

func TestClusterWithoutHosts(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "nohosts", nil)
	c.waitForHosts(t, "nohosts", "node-a:1")
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}}); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "nohosts")
	c.waitForCondition(t, "nohosts", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonNoHosts)
}

// A node on which no agent can run is no host, and named.
func TestNodeOfAnotherSystem(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-w")
	c.updateNode(t, "node-w", func(n *corev1.Node) { n.Labels[corev1.LabelOSStable] = "windows" })
	c.lbc(t, "systems", nil)
	c.waitForHosts(t, "systems", "node-a:1")
	condition := c.waitForCondition(t, "systems", v1alpha1.ConditionHostsAssigned, metav1.ConditionTrue, v1alpha1.ReasonAllAssigned)
	if !strings.Contains(condition.Message, "no agent runs there") || !strings.Contains(condition.Message, "node-w") {
		t.Errorf("condition does not name the node: %s", condition.Message)
	}
	c.update(t, "systems", func(lbc *v1alpha1.LoadBalancingCluster) {
		lbc.Spec.NodeSelector.MatchLabels[corev1.LabelOSStable] = "windows"
	})
	condition = c.waitForCondition(t, "systems", v1alpha1.ConditionHostsAssigned, metav1.ConditionTrue, v1alpha1.ReasonNoHosts)
	if !strings.Contains(condition.Message, "node-w") {
		t.Errorf("condition does not name the node: %s", condition.Message)
	}
}

// The hosts of a cluster that was removed by force are taken away by their agents, and by nobody where there is none.
func TestHostsOfClusterRemovedByForce(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	lbc := c.lbc(t, "forced", nil)
	c.waitForHosts(t, "forced", "node-a:1", "node-b:2")
	if err := c.Delete(t.Context(), lbc); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "forced", "node-a:1-", "node-b:2-")
	c.update(t, "forced", func(lbc *v1alpha1.LoadBalancingCluster) { lbc.Finalizers = nil })
	if err := c.Delete(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-b"}}); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "forced", "node-a:1-")
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		if got := c.hosts(t, "forced"); !slices.Equal(got, []string{"node-a:1-"}) {
			return fmt.Errorf("hosts are %v", got)
		}
		return nil
	})
	c.tearDown(t, "forced", "node-a")
	c.waitForHosts(t, "forced")
}

// Where a node is not ready, nobody takes away what a cluster left that was removed by force.
func TestHostOfClusterRemovedByForceIsLost(t *testing.T) {
	c := start(t, time.Second)
	c.node(t, "node-a")
	lbc := c.lbc(t, "forced", nil)
	c.waitForHosts(t, "forced", "node-a:1")
	c.setReady(t, "node-a", corev1.ConditionUnknown)
	if err := c.Delete(t.Context(), lbc); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, func() error { // unless the manager is faster, for the node is lost soon
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(lbc), lbc); err != nil {
			return client.IgnoreNotFound(err)
		}
		lbc.Finalizers = nil
		return client.IgnoreNotFound(c.Update(t.Context(), lbc))
	})
	c.waitForHosts(t, "forced")
	note := c.waitForEvent(t, "forced.node-a", "HostRemovedUncleanly")
	if !strings.Contains(note, "wlbs-agent cleanup --cluster forced") {
		t.Errorf("event does not say how to clean up: %s", note)
	}
}

// The condition of a host ID that is taken for a while ends by itself.
func TestHostIDInUse(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "inuse", nil)
	c.waitForHosts(t, "inuse", "node-a:1")
	node := &corev1.Node{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: "node-a"}, node); err != nil {
		t.Fatal(err)
	}
	node.Labels[poolLabel] = "no"
	if err := c.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	c.waitForHosts(t, "inuse", "node-a:1-")
	one := int32(1)
	c.update(t, "inuse", func(lbc *v1alpha1.LoadBalancingCluster) {
		lbc.Spec.Hosts = []v1alpha1.HostConfig{{NodeName: "node-b", HostID: &one}}
	})
	c.node(t, "node-b")
	condition := c.waitForCondition(t, "inuse", v1alpha1.ConditionHostsAssigned, metav1.ConditionFalse, v1alpha1.ReasonHostIDInUse)
	if !strings.Contains(condition.Message, "node-b") {
		t.Errorf("message does not name the node that waits: %s", condition.Message)
	}
	c.tearDown(t, "inuse", "node-a")
	c.waitForHosts(t, "inuse", "node-b:1")
	c.waitForCondition(t, "inuse", v1alpha1.ConditionHostsAssigned, metav1.ConditionTrue, v1alpha1.ReasonAllAssigned)
}
