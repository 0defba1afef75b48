// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
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
