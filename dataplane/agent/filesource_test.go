// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

const clusterYAML = `apiVersion: wlbs.dev/v1alpha1
kind: LoadBalancingCluster
metadata: {name: web}
spec:
  virtualIPs: [10.77.0.100]
  hosts:
  - {nodeName: node-a}
  - {nodeName: node-b, hostID: 1}
  - {nodeName: node-c, rules: [{name: http, loadWeight: 30}]}
`

func TestParseClusterFileResolvesHosts(t *testing.T) {
	for node, want := range map[string]int32{"node-a": 2, "node-b": 1, "node-c": 3} {
		d, err := parseClusterFile([]byte(clusterYAML), node, 4)
		if err != nil {
			t.Fatal(err)
		}
		if d.Removed() || d.Host.Spec.HostID != want || d.Host.Name != "web."+node || d.Cluster.Generation != 4 {
			t.Errorf("%s: got %+v, want host ID %d", node, d.Host, want)
		}
	}
	d, err := parseClusterFile([]byte(clusterYAML), "node-x", 1)
	if err != nil || !d.Removed() {
		t.Errorf("a node that is not listed: got %+v, %v, want removed", d, err)
	}
}

func TestParseClusterFileRefuses(t *testing.T) {
	for name, test := range map[string]struct{ content, want string }{
		"unknown field":  {strings.Replace(clusterYAML, "virtualIPs", "virtualIps", 1), "virtualIps"},
		"other kind":     {strings.Replace(clusterYAML, "kind: LoadBalancingCluster", "kind: Service", 1), "want wlbs.dev/v1alpha1 LoadBalancingCluster"},
		"no name":        {strings.Replace(clusterYAML, "name: web", "labels: {}", 1), "metadata.name"},
		"shared host ID": {strings.Replace(clusterYAML, "nodeName: node-a", "nodeName: node-a, hostID: 1", 1), "node-a and node-b both have hostID 1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseClusterFile([]byte(test.content), "node-a", 1); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestFileSourceFollowsChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(clusterYAML)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	delivered, done := make(chan plan.Config), make(chan error, 1)
	source := &FileSource{Path: path, Node: "node-c", Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	go func() { done <- source.Run(ctx, func(d []plan.Config) { delivered <- d[0] }) }()
	receive := func() plan.Config {
		t.Helper()
		select {
		case d := <-delivered:
			return d
		case <-ctx.Done():
			t.Fatal("nothing delivered")
		}
		return plan.Config{}
	}
	if d := receive(); *d.Host.Spec.Rules[0].LoadWeight != 30 || d.Cluster.Generation != 1 {
		t.Errorf("first delivery: %+v", d)
	}
	write("not: [a cluster")
	time.Sleep(3 * filePollInterval)
	write(strings.Replace(clusterYAML, "loadWeight: 30", "loadWeight: 60", 1))
	if d := receive(); *d.Host.Spec.Rules[0].LoadWeight != 60 {
		t.Errorf("a broken file must be passed over, then the next good one delivered: %+v", d.Host.Spec)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
