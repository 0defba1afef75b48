// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// The node answers in the words of kubectl wlbs, without Kubernetes.
func TestAskCommands(t *testing.T) {
	dir := t.TempDir()
	web := &v1alpha1.LoadBalancingCluster{Spec: v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{"172.18.0.100"}}}
	web.Name = "web"
	host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-b", HostID: 2}}
	host.Status.State, host.Status.Members = v1alpha1.HostConverged, []int32{1, 2}
	socket := standalone.NewSocket(filepath.Join(dir, socketName))
	socket.SetReady(func() error { return nil })
	socket.Publish("web", standalone.Answer{
		Cluster: web, Host: host,
		Peers: []words.Peer{{HostID: 1, NodeName: "node-a", Addresses: []string{"172.18.0.2", "fd00::2"}}, {HostID: 3}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- socket.Run(ctx) }()
	eventually.Must(t, 10*time.Second, "the socket answers", query.Client{Path: filepath.Join(dir, socketName)}.Ready)

	const members = "Host 2 converged with the following host(s) as part of the cluster:\n1,2\n"
	says := func(args, want string) {
		t.Helper()
		if out, err := execute(t, args); err != nil || !strings.Contains(out, want) {
			t.Errorf("wlbs-agent %s: %v, %q, want %q", args, err, out, want)
		}
	}
	fails := func(args, want string) {
		t.Helper()
		if out, err := execute(t, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("wlbs-agent %s: %v, %q, want %q", args, err, out, want)
		}
	}
	at := " --run-dir " + dir
	says("query"+at, members+"Host 1 is node-a (172.18.0.2, fd00::2)\nHost 3 has not said its name yet\n")
	says("query --output json"+at, `"hostID": 2`)
	says("params --cluster web"+at, "Retrieving parameters\nHostName                  = node-b\n")
	says("display"+at, "State:\n"+members+"Host 1 is node-a")
	says("ip2mac"+at, "Multicast MAC:       03-bf-ac-12-00-64  <- in force\n")
	says("ip2mac 10.0.0.1", "Unicast MAC:         02-bf-0a-00-00-01\n")
	says("ready --state-dir "+dir+at, "")

	fails("query --output xml"+at, "use json or yaml")
	fails("params --cluster db"+at, "cluster db: this node is not a host of the cluster")
	fails("params"+at+"/none", "no agent answers")
	fails("ip2mac"+at+"/none", "no agent answers")
	fails("ip2mac web", "not an IP address")

	socket.Publish("db", standalone.Answer{Cluster: web, Host: host})
	fails("query"+at, "--cluster db|web")
	says("query --cluster web"+at, members)

	socket.SetReady(func() error { return errors.New("not up yet: db") })
	fails("ready --state-dir "+dir+at, "not up yet: db")
	if err := os.WriteFile(filepath.Join(dir, ".lock"), []byte("4711 another-pod\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("POD_UID", "this-pod")
	fails("ready --state-dir "+dir+at, "process 4711 of another-pod")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunRefuses(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	file := filepath.Join(t.TempDir(), "web.yaml")
	for args, want := range map[string]string{
		"run --cluster-file " + file:                                  "--node is missing",
		"run --node a --cluster-file " + file + " --restart-hold -1s": "--restart-hold -1s is negative",
		"run --node a --cluster-file " + file + " --config-dir x":     "were all set",
		"run --node a":     "say where the configs are by --config-dir or --cluster-file",
		"run --node a web": "unknown command",
		"cleanup --all":    "unknown flag",
		"cleanup --cluster= --bpffs-dir " + t.TempDir():       "--cluster is empty",
		"cleanup --cluster ../web --bpffs-dir " + t.TempDir(): `"../web" is no name of a cluster`,
	} {
		if out, err := execute(t, args+" --state-dir "+t.TempDir()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("wlbs-agent %s: %v, %q, want %q", args, err, out, want)
		}
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
