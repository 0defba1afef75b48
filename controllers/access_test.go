// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/agents"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// agent returns a client with the rights and the token claims of the agent on a node; node "" stands for a token that was not
// issued to a pod.
func (c *cluster) agent(t *testing.T, node string) client.WithWatch {
	t.Helper()
	config := rest.CopyConfig(c.admin)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + agents.Name,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	if node != "" {
		config.Impersonate.Extra = map[string][]string{"authentication.kubernetes.io/node-name": {node}}
	}
	agent, err := client.NewWithWatch(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

func patchOf(t *testing.T, content map[string]any) client.Patch {
	t.Helper()
	body, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return client.RawPatch(types.MergePatchType, body)
}

func TestAgentAccess(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "access", nil)
	c.lbc(t, "other", func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = []string{"192.0.2.20"} })
	c.waitForHosts(t, "access", "node-a:1", "node-b:2")
	c.waitForHosts(t, "other", "node-a:1", "node-b:2")
	c.waitForAgents(t)

	own := func() *v1alpha1.LoadBalancingHost { return hostNamed("access.node-a") }
	status := patchOf(t, map[string]any{"status": map[string]any{"state": "Converging"}})
	agent := c.agent(t, "node-a")
	// The policy takes effect a moment after it was created, and the role after it was bound.
	kubetest.Eventually(t, func() error { return agent.Status().Patch(t.Context(), own(), status) })
	waitForPolicy(t, c)

	t.Run("reads the clusters and the hosts of its node", func(t *testing.T) {
		ofNode := client.MatchingFields{"spec.nodeName": "node-a"}
		var hosts v1alpha1.LoadBalancingHostList
		if err := agent.List(t.Context(), &hosts, ofNode); err != nil || len(hosts.Items) != 2 {
			t.Errorf("%d hosts, %v", len(hosts.Items), err)
		}
		for list, options := range map[client.ObjectList][]client.ListOption{
			&v1alpha1.LoadBalancingClusterList{}: nil, &v1alpha1.LoadBalancingHostList{}: {ofNode},
		} {
			if err := agent.List(t.Context(), list, options...); err != nil {
				t.Error(err)
			}
			watch, err := agent.Watch(t.Context(), list, options...)
			if err != nil {
				t.Error(err)
				continue
			}
			watch.Stop()
		}
	})
	t.Run("writes the hosts of all clusters on its node", func(t *testing.T) {
		for _, name := range []string{"access.node-a", "other.node-a"} {
			if err := agent.Status().Patch(t.Context(), hostNamed(name), status); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("sees whether its pod was deleted and another follows", func(t *testing.T) {
		if err := agent.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: agents.Name + "-x7k2p"}, &corev1.Pod{}); !apierrors.IsNotFound(err) {
			t.Error(err)
		}
		if err := agent.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: agents.Name}, &appsv1.DaemonSet{}); err != nil {
			t.Error(err)
		}
	})
	refused := func(name, want string, do func() error) {
		t.Run("does not "+name, func(t *testing.T) {
			if err := do(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error is %v, want one with %q", err, want)
			}
		})
	}
	refused("read another namespace's pods", "forbidden", func() error {
		return agent.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "pod"}, &corev1.Pod{})
	})
	refused("list pods", "forbidden", func() error { return agent.List(t.Context(), &corev1.PodList{}, client.InNamespace(namespace)) })
	refused("read another DaemonSet", "forbidden", func() error {
		return agent.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "another"}, &appsv1.DaemonSet{})
	})
	refused("write the host of another node", "the hosts of its own node only, which is node-a", func() error {
		return agent.Status().Patch(t.Context(), hostNamed("access.node-b"), status)
	})
	refused("write with a token that names no node", "must use the token of its pod", func() error {
		return c.agent(t, "").Status().Patch(t.Context(), own(), status)
	})
	refused("change the spec", "may change the status and finalizers of its hosts", func() error {
		return agent.Patch(t.Context(), own(), patchOf(t, map[string]any{"spec": map[string]any{"hostID": 9}}))
	})
	refused("change labels", "may change the status and finalizers of its hosts", func() error {
		return agent.Patch(t.Context(), own(), patchOf(t, map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}))
	})
	refused("remove the finalizer of a live host", "once its host is being deleted", func() error {
		return agent.Patch(t.Context(), own(), patchOf(t, map[string]any{"metadata": map[string]any{"finalizers": nil}}))
	})
	refused("delete its host", "forbidden", func() error { return agent.Delete(t.Context(), own()) })
	refused("write the cluster", "forbidden", func() error {
		lbc := c.getCluster(t, "access")
		return agent.Patch(t.Context(), lbc, patchOf(t, map[string]any{"spec": map[string]any{"interface": "eth9"}}))
	})

	t.Run("removes the finalizer of a host that is being deleted", func(t *testing.T) {
		if err := c.Delete(t.Context(), own()); err != nil {
			t.Fatal(err)
		}
		err := agent.Patch(t.Context(), own(), patchOf(t, map[string]any{"metadata": map[string]any{"finalizers": []string{}}}))
		if err != nil {
			t.Error(err)
		}
	})
}

func hostNamed(name string) *v1alpha1.LoadBalancingHost {
	host := &v1alpha1.LoadBalancingHost{}
	host.Name = name
	return host
}

// waitForPolicy waits until the API server enforces the admission policy.
func waitForPolicy(t *testing.T, c *cluster) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		status := patchOf(t, map[string]any{"status": map[string]any{"state": "Converging"}})
		err := c.agent(t, "node-a").Status().Patch(t.Context(), hostNamed("access.node-b"), status)
		if err == nil {
			return errNotEnforced
		}
		return nil
	})
}

var errNotEnforced = errors.New("the admission policy is not enforced")
