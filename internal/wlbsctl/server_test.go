// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

var server kubetest.Server

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// fixture is a cluster on the API server, with hosts whose agents and controller are played by the test.
type fixture struct {
	t      *testing.T
	config *rest.Config
	client *client
	name   string
}

// newFixture creates a cluster of the test's own with hosts 1 to n on nodes <name>-1 to <name>-n.
func newFixture(t *testing.T, name, vip string, n int, edit ...func(*v1alpha1.LoadBalancingClusterSpec)) *fixture {
	t.Helper()
	f := &fixture{t: t, config: server.Config(t), name: name}
	var err error
	if f.client, err = newClient(f.config); err != nil {
		t.Fatal(err)
	}
	cluster := &v1alpha1.LoadBalancingCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: clusterKind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{vip}},
	}
	for _, e := range edit {
		e(&cluster.Spec)
	}
	f.create(clusterResource, cluster)
	for id := 1; id <= n; id++ {
		node := f.node(id)
		f.create(hostResource, &v1alpha1.LoadBalancingHost{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: hostKind},
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName(name, node)},
			Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: name, NodeName: node, HostID: int32(id)},
		})
	}
	return f
}

func (f *fixture) node(id int) string { return fmt.Sprintf("%s-%d", f.name, id) }

// create makes an object and removes it after the test, so that tests do not see each other's.
func (f *fixture) create(resource string, object interface {
	metav1.Object
}) {
	f.t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		f.t.Fatal(err)
	}
	name := object.GetName()
	if err := f.client.wlbs.Post().Resource(resource).Param("fieldManager",
		"author").Body(body).Do(f.t.Context()).Error(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		ctx := context.WithoutCancel(f.t.Context())
		if err := f.client.wlbs.Delete().Resource(resource).Name(name).Do(ctx).Error(); err != nil {
			f.t.Error(err)
		}
	})
}

func (f *fixture) cluster() *v1alpha1.LoadBalancingCluster {
	f.t.Helper()
	c, err := f.client.cluster(f.t.Context(), f.name)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) desired(id int) v1alpha1.DesiredState {
	f.t.Helper()
	entry := f.cluster().Spec.HostConfigOf(f.node(id))
	return entry.EffectiveDesiredState()
}

// apply is another person's server-side apply of spec.hosts, in YAML's JSON.
func (f *fixture) apply(manager, hosts string) {
	f.t.Helper()
	body := fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q},"spec":{"hosts":%s}}`, v1alpha1.GroupVersion,
		clusterKind, f.name, hosts)
	err := f.client.wlbs.Patch(types.ApplyPatchType).Resource(clusterResource).Name(f.name).Param("fieldManager", manager).
		Body([]byte(body)).Do(f.t.Context()).Error()
	if err != nil {
		f.t.Fatal(err)
	}
}

// setHost plays controller and agent: it gives a host a spec and a status.
func (f *fixture) setHost(id int, edit func(*v1alpha1.LoadBalancingHost)) {
	f.t.Helper()
	host := &v1alpha1.LoadBalancingHost{}
	name := v1alpha1.HostObjectName(f.name, f.node(id))
	for _, subresource := range []string{"", "status"} {
		if err := f.client.wlbs.Get().Resource(hostResource).Name(name).Do(f.t.Context()).Into(host); err != nil {
			f.t.Fatal(err)
		}
		edit(host)
		host.APIVersion, host.Kind = v1alpha1.GroupVersion.String(), hostKind
		generation := host.Generation
		host.Status.ObservedGeneration = &generation
		body, err := json.Marshal(host)
		if err != nil {
			f.t.Fatal(err)
		}
		request := f.client.wlbs.Put().Resource(hostResource).Name(name)
		if subresource != "" {
			request = request.SubResource(subresource)
		}
		if err := request.Body(body).Do(f.t.Context()).Error(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// run runs a command line as a user would and returns its exit code and what it printed.
func (f *fixture) run(args ...string) (code int, stdout, stderr string) {
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, errOut: &errOut, now: time.Now}
	a.config = func() (*rest.Config, error) { return rest.CopyConfig(f.config), nil }
	code = a.run(f.t.Context(), args)
	return code, out.String(), errOut.String()
}

// want runs a command line and checks its exit code.
func (f *fixture) want(code int, args ...string) (stdout, stderr string) {
	f.t.Helper()
	got, stdout, stderr := f.run(args...)
	if got != code {
		f.t.Fatalf("kubectl wlbs %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
	}
	return stdout, stderr
}

func (f *fixture) eventually(reached func() bool) {
	f.t.Helper()
	kubetest.Eventually(f.t, func() error {
		if !reached() {
			return errors.New("not reached")
		}
		return nil
	})
}
