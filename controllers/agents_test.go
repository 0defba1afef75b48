// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/agents"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// waitForAgents waits until there is a DaemonSet of agents.
func (c *cluster) waitForAgents(t *testing.T) *appsv1.DaemonSet {
	t.Helper()
	ds := &appsv1.DaemonSet{}
	kubetest.Eventually(t, func() error { return c.Get(t.Context(), agentsKey(), ds) })
	return ds
}

func agentsKey() client.ObjectKey { return client.ObjectKey{Namespace: namespace, Name: agents.Name} }

func (c *cluster) waitForNoAgents(t *testing.T) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		err := c.Get(t.Context(), agentsKey(), &appsv1.DaemonSet{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("there are still agents"), err)
	})
}

// The agents come with the first cluster and stay until the last host is gone. Neither nodes nor clusters change them.
func TestAgentsOfAllClusters(t *testing.T) {
	c := start(t, 0)
	c.waitForNoAgents(t)
	c.node(t, "node-a")
	one := c.lbc(t, "one", nil)
	ds := c.waitForAgents(t)
	if image := ds.Spec.Template.Spec.Containers[0].Image; image != agentImage {
		t.Errorf("agents run %s", image)
	}
	c.waitForHosts(t, "one", "node-a:1")

	size := int32(1 << 20)
	c.node(t, "node-b")
	two := c.lbc(t, "two", withVIPs("192.0.2.20"))
	c.update(t, "one", func(lbc *v1alpha1.LoadBalancingCluster) { lbc.Spec.Dataplane.MaxConnections = &size })
	c.waitForHosts(t, "two", "node-a:1", "node-b:2")
	kubetest.Consistently(t, 300*time.Millisecond, func() error {
		if now := c.waitForAgents(t); now.Generation != ds.Generation || now.UID != ds.UID {
			return fmt.Errorf("the DaemonSet was changed: generation %d, was %d", now.Generation, ds.Generation)
		}
		return nil
	})

	for _, lbc := range []client.Object{one, two} {
		if err := c.Delete(t.Context(), lbc); err != nil {
			t.Fatal(err)
		}
	}
	c.waitForHosts(t, "one", "node-a:1-", "node-b:2-")
	for _, host := range [][2]string{{"one", "node-a"}, {"one", "node-b"}, {"two", "node-a"}} {
		c.tearDown(t, host[0], host[1])
	}
	kubetest.Consistently(t, 300*time.Millisecond, func() error { return c.Get(t.Context(), agentsKey(), &appsv1.DaemonSet{}) })
	c.tearDown(t, "two", "node-b")
	c.waitForNoAgents(t)
}

// "kubectl rollout undo" and "restart" write the pod template: the manager does not take that back. What is deleted comes again.
func TestAgentsAsPeopleLeaveThem(t *testing.T) {
	c := start(t, 0)
	c.lbc(t, "people", nil)
	ds := c.waitForAgents(t)
	undo := patchOf(t, map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": map[string]any{"kubectl.kubernetes.io/restartedAt": "now"}}}}})
	if err := c.Patch(t.Context(), ds, undo); err != nil {
		t.Fatal(err)
	}
	previous := client.RawPatch(types.JSONPatchType, []byte(`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "agent:previous"}]`))
	if err := c.Patch(t.Context(), ds, previous); err != nil {
		t.Fatal(err)
	}
	kubetest.Consistently(t, 500*time.Millisecond, func() error {
		now := c.waitForAgents(t)
		if image := now.Spec.Template.Spec.Containers[0].Image; image != "agent:previous" {
			return fmt.Errorf("the agents' image is %s again", image)
		}
		return nil
	})
	if err := c.Delete(t.Context(), ds); err != nil {
		t.Fatal(err)
	}
	kubetest.Eventually(t, func() error {
		if now := c.waitForAgents(t); now.UID == ds.UID || now.Spec.Template.Spec.Containers[0].Image != agentImage {
			return errors.New("the DaemonSet has not come again")
		}
		return nil
	})
}

// The manager makes no rights.
func TestManagerMakesNoRights(t *testing.T) {
	c := start(t, 0)
	count := func() (n int) {
		for _, list := range []client.ObjectList{&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &corev1.ServiceAccountList{}} {
			if err := rbacReader(t, c).List(t.Context(), list); err != nil {
				t.Fatal(err)
			}
			n += meta.LenList(list)
		}
		return n
	}
	before := count()
	c.node(t, "node-a")
	c.lbc(t, "rights", nil)
	c.waitForHosts(t, "rights", "node-a:1")
	c.waitForAgents(t)
	if after := count(); after != before {
		t.Errorf("%d roles, bindings and accounts, before there were %d", after, before)
	}
	ds := c.waitForAgents(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: ds.Spec.Template.Spec.ServiceAccountName}}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil {
		t.Errorf("the agents' account: %v", err)
	}
}

func rbacReader(t *testing.T, c *cluster) client.Reader {
	t.Helper()
	s := scheme(t)
	if err := rbacv1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	reader, err := client.New(c.admin, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	return reader
}
