// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers"
	"github.com/kube-wlbs/kube-wlbs/controllers/agents"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

const (
	namespace  = "kube-wlbs-system"
	agentImage = "agent:test"
	// poolLabel tells the nodes of one test from those of others.
	poolLabel = "test.wlbs.dev/pool"
)

var (
	server  kubetest.Server
	install sync.Once
)

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := controllers.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

// cluster is an API server on which config/default is installed, and a manager that runs with the rights it has there.
type cluster struct {
	client.Client
	admin *rest.Config
}

// start runs the reconcilers until the test ends, and then removes what the test made.
func start(t *testing.T, nodeLostAfter time.Duration) *cluster {
	t.Helper()
	c := connect(t)
	asManager := rest.CopyConfig(c.admin)
	asManager.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":kube-wlbs-manager",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	again := true // Each test has a manager of its own.
	mgr, err := ctrl.NewManager(asManager, ctrl.Options{
		Scheme:     scheme(t),
		Cache:      controllers.CacheOptions(namespace),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Logger:     logr.Discard(),
		Controller: config.Controller{SkipNameValidation: &again},
	})
	if err != nil {
		t.Fatal(err)
	}
	agentSettings := agents.Settings{Image: agentImage, Resources: agents.DefaultResources(), Tolerations: agents.DefaultTolerations()}
	if err := controllers.Setup(mgr, controllers.Options{Namespace: namespace, Agents: agentSettings, NodeLostAfter: nodeLostAfter}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error("manager:", err)
		}
		c.clean(t)
	})
	return c
}

// connect returns the API server with config/default on it.
func connect(t *testing.T) *cluster {
	t.Helper()
	admin := server.Config(t)
	install.Do(func() {
		if out, err := server.Kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", kubetest.Path("config", "default")); err != nil {
			t.Fatalf("config/default: %v\n%s", err, out)
		}
	})
	c, err := client.New(admin, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Client: c, admin: admin}
}

func (c *cluster) clean(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	var clusters v1alpha1.LoadBalancingClusterList
	var hosts v1alpha1.LoadBalancingHostList
	var nodes corev1.NodeList
	for _, list := range []client.ObjectList{&clusters, &hosts, &nodes} {
		if err := c.List(ctx, list); err != nil {
			t.Error(err)
		}
	}
	var objects []client.Object
	for i := range clusters.Items {
		objects = append(objects, &clusters.Items[i])
	}
	for i := range hosts.Items {
		objects = append(objects, &hosts.Items[i])
	}
	for i := range nodes.Items {
		objects = append(objects, &nodes.Items[i])
	}
	objects = append(objects, &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: agents.Name}})
	for _, o := range objects {
		// A patch, for the manager's last write may still be under way and make an update fail.
		withoutFinalizers := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
		if err := client.IgnoreNotFound(c.Patch(ctx, o, withoutFinalizers)); err != nil {
			t.Error(err)
		}
		if err := client.IgnoreNotFound(c.Delete(ctx, o)); err != nil {
			t.Error(err)
		}
	}
}

// node adds a ready node to the test's pool.
func (c *cluster) node(t *testing.T, name string, taints ...corev1.Taint) {
	t.Helper()
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{poolLabel: "yes"}},
		Spec:       corev1.NodeSpec{Taints: taints},
	}
	if err := c.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	c.setReady(t, name, corev1.ConditionTrue)
}

func (c *cluster) setReady(t *testing.T, name string, ready corev1.ConditionStatus) {
	t.Helper()
	node := &corev1.Node{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: name}, node); err != nil {
		t.Fatal(err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready, LastTransitionTime: metav1.Now()}}
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	// The API server may have put this taint on the node before it was ready.
	if err := c.Get(t.Context(), client.ObjectKey{Name: name}, node); err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool { return t.Key == corev1.TaintNodeNotReady })
	if len(kept) != len(node.Spec.Taints) {
		node.Spec.Taints = kept
		if err := c.Update(t.Context(), node); err != nil {
			t.Fatal(err)
		}
	}
}

// lbc creates a LoadBalancingCluster on the test's pool of nodes.
func (c *cluster) lbc(t *testing.T, name string, change func(*v1alpha1.LoadBalancingClusterSpec)) *v1alpha1.LoadBalancingCluster {
	t.Helper()
	lbc := &v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.LoadBalancingClusterSpec{
			VirtualIPs:   []string{"192.0.2.10"},
			NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{poolLabel: "yes"}},
		},
	}
	if change != nil {
		change(&lbc.Spec)
	}
	if err := c.Create(t.Context(), lbc); err != nil {
		t.Fatal(err)
	}
	return lbc
}

// update changes a LoadBalancingCluster, again when somebody else did so at the same time.
func (c *cluster) update(t *testing.T, name string, change func(*v1alpha1.LoadBalancingCluster)) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		lbc := c.getCluster(t, name)
		change(lbc)
		return c.Update(t.Context(), lbc)
	})
}

func (c *cluster) getCluster(t *testing.T, name string) *v1alpha1.LoadBalancingCluster {
	t.Helper()
	lbc := &v1alpha1.LoadBalancingCluster{}
	if err := c.Get(t.Context(), client.ObjectKey{Name: name}, lbc); err != nil {
		t.Fatal(err)
	}
	return lbc
}

// hosts describes a cluster's hosts as node:ID, followed by "-" while they are being removed.
func (c *cluster) hosts(t *testing.T, cluster string) []string {
	t.Helper()
	var list v1alpha1.LoadBalancingHostList
	if err := c.List(t.Context(), &list, client.MatchingFields{"spec.clusterName": cluster}); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, h := range list.Items {
		word := fmt.Sprintf("%s:%d", h.Spec.NodeName, h.Spec.HostID)
		if !h.DeletionTimestamp.IsZero() {
			word += "-"
		}
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}

func (c *cluster) waitForHosts(t *testing.T, cluster string, want ...string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		if got := c.hosts(t, cluster); !slices.Equal(got, want) {
			return fmt.Errorf("hosts are %v, want %v", got, want)
		}
		return nil
	})
}

// tearDown does what the agent of a node does when its host is to go.
func (c *cluster) tearDown(t *testing.T, cluster, node string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		host := &v1alpha1.LoadBalancingHost{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: v1alpha1.HostObjectName(cluster, node)}, host); err != nil {
			return err
		}
		if host.DeletionTimestamp.IsZero() {
			return errors.New("is not being deleted")
		}
		host.Finalizers = nil
		return c.Update(t.Context(), host)
	})
}

// report does what the agent of a node does: it applies the status of its host.
func (c *cluster) report(t *testing.T, cluster, node string, status map[string]any) {
	t.Helper()
	status["renewTime"] = time.Now().UTC().Format(metav1.RFC3339Micro)
	if status["leaseSeconds"] == nil {
		status["leaseSeconds"] = int64(90)
	}
	u := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("LoadBalancingHost"))
	u.SetName(v1alpha1.HostObjectName(cluster, node))
	err := c.Status().Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("wlbs-agent"), client.ForceOwnership)
	if err != nil {
		t.Fatal(err)
	}
}
