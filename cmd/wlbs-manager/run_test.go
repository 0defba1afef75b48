// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

var server kubetest.Server

func TestMain(m *testing.M) { os.Exit(server.Main(m)) }

// freeAddress returns an address of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func TestRun(t *testing.T) {
	t.Setenv("KUBECONFIG", server.Kubeconfig(t))
	clients, err := kubernetes.NewForConfig(server.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	probes, metrics := freeAddress(t), freeAddress(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{
			"--namespace=default", "--agent-image=agent:test",
			"--health-probe-bind-address=" + probes, "--metrics-bind-address=" + metrics,
		})
	}()

	kubetest.Eventually(t, func() error { return wantCode(t, "http://"+probes+"/readyz", http.StatusOK) })
	kubetest.Eventually(t, func() error { return wantCode(t, "http://"+probes+"/healthz", http.StatusOK) })
	kubetest.Eventually(t, func() error { return wantCode(t, "https://"+metrics+"/metrics", http.StatusUnauthorized) })
	leader := func() (string, error) {
		lease, err := clients.CoordinationV1().Leases("default").Get(t.Context(), leaderElectionID, metav1.GetOptions{})
		if err != nil {
			return "", err
		}
		return holder(lease), nil
	}
	kubetest.Eventually(t, func() error {
		name, err := leader()
		if err == nil && name == "" {
			err = fmt.Errorf("nobody leads")
		}
		return err
	})

	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if name, err := leader(); err != nil || name != "" {
		t.Errorf("the lease is still held by %q after the end, a successor would wait for it: %v", name, err)
	}
}

func holder(lease *coordinationv1.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func wantCode(t *testing.T, url string, want int) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	// The manager makes its certificate itself.
	insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	resp, err := insecure.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != want {
		return fmt.Errorf("%s answers %d, want %d", url, resp.StatusCode, want)
	}
	return nil
}
