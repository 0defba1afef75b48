// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// The node answers in the words of kubectl wlbs, without Kubernetes.
func TestAskCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.sock")
	cluster := &v1alpha1.LoadBalancingCluster{Spec: v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{"172.18.0.100"}}}
	cluster.Name = "web"
	host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-b", HostID: 2}}
	host.Status.State, host.Status.Members = v1alpha1.HostConverged, []int32{1, 2}
	socket := agent.NewSocket(path)
	socket.Publish(cluster, host, []words.Peer{{HostID: 1, NodeName: "node-a", Addresses: []string{"172.18.0.2", "fd00::2"}}, {HostID: 3}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- socket.Run(ctx) }()
	kubetest.Eventually(t, func() error {
		_, err := agent.QueryHost(t.Context(), path)
		return err
	})

	const members = "Host 2 converged with the following host(s) as part of the cluster:\n1,2\n"
	for _, test := range []struct{ args, want string }{
		{"query --socket " + path, members + "Host 1 is node-a (172.18.0.2, fd00::2)\nHost 3 has not said its name yet\n"},
		{"params --socket " + path, "Retrieving parameters\nHostName                  = node-b\n"},
		{"display --socket " + path, "State:\n" + members + "Host 1 is node-a"},
		{"ip2mac --socket " + path, "Multicast MAC:       03-bf-ac-12-00-64  <- in force\n"},
		{"ip2mac 10.0.0.1", "Unicast MAC:         02-bf-0a-00-00-01\n"},
	} {
		if out, err := execute(t, test.args); err != nil || !strings.Contains(out, test.want) {
			t.Errorf("wlbs-agent %s: %v, %q, want %q", test.args, err, out, test.want)
		}
	}
	for _, test := range []struct{ args, want string }{
		{"params", "at least one of the flags"},
		{"params --socket " + path + ".none", "no agent answers"},
		{"ip2mac", "say which address"},
		{"ip2mac web", "not an IP address"},
	} {
		if out, err := execute(t, test.args); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("wlbs-agent %s: %v, %q, want %q", test.args, err, out, test.want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func execute(t *testing.T, args string) (string, error) {
	t.Helper()
	var out strings.Builder
	root := rootCommand()
	root.SetArgs(strings.Fields(args))
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}
