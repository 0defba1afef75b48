// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

const (
	poll    = 20 * time.Millisecond
	patient = 20 * time.Second
)

var server kubetest.Server

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

func logger(t *testing.T) *slog.Logger { return slog.New(slog.NewTextHandler(t.Output(), nil)) }

func newClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(server.Config(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func create(t *testing.T, c client.Client, name, vip string) (*v1alpha1.LoadBalancingCluster, *v1alpha1.LoadBalancingHost) {
	t.Helper()
	cluster := &v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{vip}},
	}
	host := &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName(name, "node-a"), Finalizers: []string{v1alpha1.Finalizer}},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: name, NodeName: "node-a", HostID: 1},
	}
	for _, o := range []client.Object{cluster, host} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	return cluster, host
}

// configOf returns the config of a cluster among all.
func configOf(all []plan.Config, cluster string) (plan.Config, bool) {
	for _, c := range all {
		if c.Host.Spec.ClusterName == cluster {
			return c, true
		}
	}
	return plan.Config{}, false
}

func TestSourceDeliversChangesOfEitherObject(t *testing.T) {
	c := newClient(t)
	cluster, host := create(t, c, "source", "10.77.0.100")
	rest, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	delivered := make(chan []plan.Config, 64)
	source := &Source{Client: rest, Node: "node-a", Log: logger(t)}
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, func(d []plan.Config) { delivered <- d }) }()
	await := func(what string, ok func(plan.Config) bool) {
		t.Helper()
		for {
			select {
			case all := <-delivered:
				if d, found := configOf(all, "source"); found && ok(d) {
					return
				}
			case <-ctx.Done():
				t.Fatalf("not delivered: %s", what)
			}
		}
	}
	await("the first state", func(d plan.Config) bool { return !d.Removed() && d.Host.Spec.HostID == 1 })

	cluster.Spec.Interface = "eth7"
	if err := c.Update(ctx, cluster); err != nil {
		t.Fatal(err)
	}
	await("the cluster's change", func(d plan.Config) bool { return d.Cluster.Spec.Interface == "eth7" })

	host.Spec.DesiredState = v1alpha1.DesiredStateStopped
	if err := c.Update(ctx, host); err != nil {
		t.Fatal(err)
	}
	await("the host's change", func(d plan.Config) bool { return d.Host.Spec.DesiredState == v1alpha1.DesiredStateStopped })

	if err := c.Delete(ctx, host); err != nil {
		t.Fatal(err)
	}
	await("the host's deletion", plan.Config.Removed)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// The source delivers the node's hosts of all clusters, those of other nodes never, in the order in which the clusters
// were made; and a new host only when its cluster is known.
func TestSourceDeliversAllOfTheNode(t *testing.T) {
	c := newClient(t)
	later, _ := create(t, c, "all-b", "10.77.5.100")
	create(t, c, "all-a", "10.77.5.101")
	elsewhere := &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName("all-b", "node-b")},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: "all-b", NodeName: "node-b", HostID: 2},
	}
	orphan := &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName("all-c", "node-a")},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: "all-c", NodeName: "node-a", HostID: 1},
	}
	for _, o := range []client.Object{elsewhere, orphan} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	api, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	delivered := make(chan []plan.Config, 64)
	source := &Source{Client: api, Node: "node-a", Log: logger(t)}
	done := make(chan error, 1)
	go func() { done <- source.Run(ctx, func(d []plan.Config) { delivered <- d }) }()
	await := func(want ...string) {
		t.Helper()
		var got []string
		for !slices.Equal(got, want) {
			select {
			case all := <-delivered:
				got = nil
				for _, d := range all {
					if d.Host.Spec.NodeName != "node-a" {
						t.Errorf("delivered the host of %s", d.Host.Spec.NodeName)
					}
					if strings.HasPrefix(d.Host.Spec.ClusterName, "all-") {
						got = append(got, d.Host.Spec.ClusterName)
					}
				}
			case <-ctx.Done():
				t.Fatalf("delivered %v, want %v", got, want)
			}
		}
	}
	first, second := "all-b", "all-a"
	a, _ := configOf(awaitFirst(ctx, t, delivered), "all-a")
	if a.Cluster.CreationTimestamp.Equal(&later.CreationTimestamp) {
		first, second = second, first // made within one second: by name
	}
	third := &v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "all-c"},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{"10.77.5.102"}},
	}
	time.Sleep(1100 * time.Millisecond) // creation times are in seconds
	if err := c.Create(ctx, third); err != nil {
		t.Fatal(err)
	}
	await(first, second, "all-c")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func awaitFirst(ctx context.Context, t *testing.T, delivered <-chan []plan.Config) []plan.Config {
	t.Helper()
	select {
	case all := <-delivered:
		if _, found := configOf(all, "all-c"); found {
			t.Error("delivered a host without a cluster")
		}
		return all
	case <-ctx.Done():
		t.Fatal("nothing delivered")
		return nil
	}
}

// One sink writes all hosts' status, and one that cannot be written holds up no other.
func TestSinkWritesAllHosts(t *testing.T) {
	c := newClient(t)
	_, one := create(t, c, "many-a", "10.77.6.100")
	_, two := create(t, c, "many-b", "10.77.6.101")
	api, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	sink := NewSink(api, "node-a", logger(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	sink.Report(reportOf("many-gone", v1alpha1.HostConverged, 1))
	sink.Report(reportOf("many-a", v1alpha1.HostConverged, 1))
	sink.Report(reportOf("many-b", v1alpha1.HostStopped, 2))
	for _, want := range []struct {
		host  *v1alpha1.LoadBalancingHost
		state v1alpha1.HostState
	}{{one, v1alpha1.HostConverged}, {two, v1alpha1.HostStopped}} {
		eventually.Must(t, patient, "the status of "+want.host.Name, func(ctx context.Context) error {
			if err := c.Get(ctx, client.ObjectKeyFromObject(want.host), want.host); err != nil {
				return err
			}
			if want.host.Status.State != want.state {
				return fmt.Errorf("state %q", want.host.Status.State)
			}
			return nil
		})
	}
	// A host that is not deleted keeps its finalizer: it may be one of a new cluster of that name.
	if err := sink.Released(t.Context(), "many-a"); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(one), one); err != nil || len(one.Finalizers) != 1 {
		t.Errorf("finalizers %v, %v", one.Finalizers, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A token dies with its ServiceAccount. The next request takes the one that is in the file then.
func TestClientReadsItsTokenAnew(t *testing.T) {
	var mu sync.Mutex
	valid := "first"
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+valid {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Unauthorized","code":401}`))
			return
		}
		_, _ = w.Write([]byte(`{"kind":"LoadBalancingHost","apiVersion":"wlbs.dev/v1alpha1","metadata":{"name":"web.node-a"}}`))
	}))
	defer api.Close()
	path := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	c, err := NewClient(&rest.Config{Host: api.URL, BearerToken: "first", BearerTokenFile: path})
	if err != nil {
		t.Fatal(err)
	}
	get := func() error { return c.Get().Resource(hostResource).Name("web.node-a").Do(t.Context()).Error() }
	if err := get(); err != nil {
		t.Errorf("at first: %v", err)
	}
	mu.Lock()
	valid = "second"
	mu.Unlock()
	if err := get(); !apierrors.IsUnauthorized(err) {
		t.Errorf("with a token that is dead: %v", err)
	}
	write("second")
	if err := get(); err != nil {
		t.Errorf("with a new one: %v", err)
	}
}

func reportOf(cluster string, state v1alpha1.HostState, members ...int32) host.Report {
	h := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: cluster}}
	h.Status.State, h.Status.Members = state, members
	return host.Report{Host: h}
}

func TestSinkWritesNewsAtOnceAndReleases(t *testing.T) {
	c := newClient(t)
	_, host := create(t, c, "sink", "10.77.1.100")
	rest, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	sink := NewSink(rest, "node-a", logger(t))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()

	report := func(members ...int32) {
		sink.Report(reportOf("sink", v1alpha1.HostConverged, members...))
	}
	read := func() v1alpha1.LoadBalancingHostStatus {
		t.Helper()
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); err != nil {
			t.Fatal(err)
		}
		return host.Status
	}
	await := func(members int) v1alpha1.LoadBalancingHostStatus {
		t.Helper()
		kubetest.Eventually(t, func() error {
			if s := read(); len(s.Members) != members {
				return fmt.Errorf("status has the members %v, want %d", s.Members, members)
			}
			return nil
		})
		return host.Status
	}
	report(1)
	first := await(1)
	if first.RenewTime == nil || first.LeaseSeconds == nil || *first.LeaseSeconds != leaseSeconds {
		t.Errorf("no lease in %+v", first)
	}
	for range 20 { // what is no news is not written
		report(1)
		time.Sleep(poll)
	}
	if s := read(); !s.RenewTime.Equal(first.RenewTime) {
		t.Errorf("an unchanged status was written again within %v", renewInterval)
	}
	report(1, 2)
	if s := await(2); !s.RenewTime.After(first.RenewTime.Time) {
		t.Errorf("the lease was not renewed with the news")
	}
	report(1) // lists are replaced, not merged
	await(1)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}

	if err := c.Delete(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if read(); host.DeletionTimestamp.IsZero() {
		t.Fatal("the finalizer did not keep the host")
	}
	for range 2 { // the second time there is nothing left to do
		if err := sink.Released(t.Context(), "sink"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the host is still there: %v", err)
	}
}

// A live agent takes its status back when the manager took the host for dead, at once and not with the next renewal.
func TestSinkRewritesWhatTheManagerOverwrote(t *testing.T) {
	c := newClient(t)
	_, host := create(t, c, "over", "10.77.3.100")
	api, err := NewClient(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	sink := NewSink(api, "node-a", logger(t))
	source := &Source{Client: api, Node: "node-a", Overwritten: sink.Rewrite, Log: logger(t)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- sink.Run(ctx) }()
	go func() { done <- source.Run(ctx, func([]plan.Config) {}) }()
	sink.Report(reportOf("over", v1alpha1.HostConverged, 1))
	await := func(state v1alpha1.HostState) {
		t.Helper()
		kubetest.Eventually(t, func() error {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); err != nil {
				return err
			}
			if host.Status.State != state {
				return fmt.Errorf("state is %s, want %s", host.Status.State, state)
			}
			return nil
		})
	}
	await(v1alpha1.HostConverged)
	unknown := client.RawPatch(types.MergePatchType, []byte(`{"status":{"state":"Unknown"}}`))
	if err := c.Status().Patch(t.Context(), host, unknown); err != nil {
		t.Fatal(err)
	}
	await(v1alpha1.HostConverged)
	cancel()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
