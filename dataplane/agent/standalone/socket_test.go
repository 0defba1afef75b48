// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// serveSocket returns a socket that serves until the test ends, and a client for it.
func serveSocket(t *testing.T) (*Socket, query.Client) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	socket, client := NewSocket(path), query.Client{Path: path}
	if err := client.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "no agent answers") {
		t.Errorf("without an agent: %v", err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- socket.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	eventually.Must(t, 10*time.Second, "the socket answers", func(ctx context.Context) error {
		_, err := client.Clusters(ctx)
		return err
	})
	return socket, client
}

func publish(s *Socket, cluster string, peers ...words.Peer) {
	a := Answer{Cluster: &v1alpha1.LoadBalancingCluster{}, Host: &v1alpha1.LoadBalancingHost{}, Peers: peers}
	a.Cluster.Name, a.Host.Name = cluster, cluster+".node-a"
	s.Publish(cluster, a)
}

func TestSocketAnswersForEachCluster(t *testing.T) {
	socket, client := serveSocket(t)
	publish(socket, "web", words.Peer{HostID: 2, NodeName: "node-b"})
	publish(socket, "mail")

	if got, err := client.Clusters(t.Context()); err != nil || !cmp.Equal(got, []string{"mail", "web"}) {
		t.Errorf("Clusters() = %q, %v", got, err)
	}
	for _, name := range []string{"web", "mail"} {
		if got, err := client.Host(t.Context(), name); err != nil || got.Name != name+".node-a" {
			t.Errorf("Host(%s) = %+v, %v", name, got, err)
		}
		if got, err := client.Cluster(t.Context(), name); err != nil || got.Name != name {
			t.Errorf("Cluster(%s) = %+v, %v", name, got, err)
		}
	}
	if got, err := client.Peers(t.Context(), "web"); err != nil || len(got) != 1 || got[0].NodeName != "node-b" {
		t.Errorf("Peers() = %+v, %v", got, err)
	}
	socket.Withdraw("web")
	if _, err := client.Cluster(t.Context(), "web"); !errors.Is(err, query.ErrNotHost) || !strings.Contains(err.Error(), "web") {
		t.Errorf("of a cluster that is gone: %v", err)
	}
	if _, err := client.Cluster(t.Context(), "mail"); err != nil {
		t.Error(err)
	}
}

func TestSocketSaysWhetherReady(t *testing.T) {
	socket, client := serveSocket(t)
	if err := client.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("before anybody knows: %v", err)
	}
	missing := errors.New("cluster web: no interface eth7")
	for _, want := range []error{missing, nil} {
		socket.SetReady(func() error { return want })
		err := client.Ready(t.Context())
		if (err == nil) != (want == nil) || want != nil && !strings.Contains(err.Error(), want.Error()) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestTheOnlyClusterNeedsNoName(t *testing.T) {
	socket, client := serveSocket(t)
	check := func(name, want, wantError string) {
		t.Helper()
		got, err := client.Which(t.Context(), name)
		if got != want || (err == nil) != (wantError == "") || err != nil && !strings.Contains(err.Error(), wantError) {
			t.Errorf("Which(%q) = %q, %v, want %q, %q", name, got, err, want, wantError)
		}
	}
	check("", "", "not a host of any cluster")
	publish(socket, "web")
	check("", "web", "")
	check("other", "other", "")
	publish(socket, "mail")
	check("", "", "--cluster mail|web")
}
