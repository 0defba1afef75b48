// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

func TestSocketAnswersForHostAndCluster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.sock")
	if _, err := QueryHost(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no agent answers") {
		t.Errorf("without an agent: %v", err)
	}
	socket := NewSocket(path)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- socket.Run(ctx) }()
	kubetest.Eventually(t, func() error {
		_, err := QueryHost(t.Context(), path)
		if err != nil && strings.Contains(err.Error(), "not a host") {
			return nil // it answers, and nothing was published yet
		}
		return err
	})

	cluster, host := &v1alpha1.LoadBalancingCluster{}, &v1alpha1.LoadBalancingHost{}
	cluster.Name, host.Name = "web", "web.node-a"
	socket.Publish(cluster, host, []words.Peer{{HostID: 2, NodeName: "node-b"}})
	if got, err := QueryHost(t.Context(), path); err != nil || got.Name != "web.node-a" {
		t.Errorf("QueryHost() = %+v, %v", got, err)
	}
	if got, err := QueryCluster(t.Context(), path); err != nil || got.Name != "web" {
		t.Errorf("QueryCluster() = %+v, %v", got, err)
	}
	if got, err := QueryPeers(t.Context(), path); err != nil || len(got) != 1 || got[0].NodeName != "node-b" {
		t.Errorf("QueryPeers() = %+v, %v", got, err)
	}
	socket.Withdraw()
	if _, err := QueryCluster(t.Context(), path); err == nil || !strings.Contains(err.Error(), "not a host") {
		t.Errorf("of a node that is no host: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
