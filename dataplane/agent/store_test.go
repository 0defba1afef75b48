// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

func testConfig(cluster string) plan.Config {
	c := plan.Config{Cluster: &v1alpha1.LoadBalancingCluster{}, Host: &v1alpha1.LoadBalancingHost{}}
	c.Cluster.Name, c.Cluster.Generation = cluster, 7
	c.Cluster.Spec.VirtualIPs = []string{"10.77.0.100"}
	c.Host.Spec = v1alpha1.LoadBalancingHostSpec{
		ClusterName: cluster, NodeName: "node-a", HostID: 2, VirtualIPs: c.Cluster.Spec.VirtualIPs,
	}
	return c
}

func testStore(t *testing.T, log *strings.Builder) *store {
	t.Helper()
	return &store{dir: filepath.Join(t.TempDir(), "web"), cluster: "web", log: slog.New(slog.NewTextHandler(log, nil))}
}

func TestStoreRoundTrip(t *testing.T) {
	var log strings.Builder
	s := testStore(t, &log)
	if got := s.Load(); !got.Config.Removed() || log.Len() > 0 {
		t.Fatalf("empty state: %+v, %s", got, log.String())
	}
	d := testConfig("web")
	if err := s.Save(host.Saved{Config: d, Incarnation: 9}); err != nil {
		t.Fatal(err)
	}
	got := s.Load()
	if got.Incarnation != 9 || got.Config.Cluster.Generation != 7 || got.Config.Host.Spec.HostID != d.Host.Spec.HostID {
		t.Errorf("loaded %+v", got)
	}
	if err := s.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("state directory is left: %v", err)
	}
}

// What is on the disk may be anything. It is as good as nothing then, said once, and in nobody's way.
func TestStoreOfNoUse(t *testing.T) {
	var whole strings.Builder
	good := testStore(t, &whole)
	if err := good.Save(host.Saved{Config: testConfig("web"), Incarnation: 9}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(good.path())
	if err != nil {
		t.Fatal(err)
	}
	cases := []string{
		"", "{}", "null", "[]", "7", `{"config":null}`, `{"config":{"cluster":{}}}`, `{"config":{"cluster":{},"host":{}}}`,
		strings.Replace(string(content), `"name":"web"`, `"name":"db"`, 1),
		strings.Replace(string(content), `"hostID":2`, `"hostID":77`, 1),
		strings.Replace(string(content), `"10.77.0.100"`, `"web"`, 1),
	}
	for i := 1; i < len(content); i += 7 {
		cases = append(cases, string(content[:i]))
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var log strings.Builder
			s := testStore(t, &log)
			if err := os.MkdirAll(s.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(), []byte(c), 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got := s.Load(); !got.Config.Removed() || got.Incarnation != 0 || got.InForce != nil {
					t.Errorf("%q: loaded %+v", c, got)
				}
			}
			if got := strings.Count(log.String(), "Last config of no use"); got != 1 {
				t.Errorf("%q: said %d times: %s", c, got, log.String())
			}
			if err := s.Save(host.Saved{Config: testConfig("web")}); err != nil || s.Load().Config.Removed() {
				t.Errorf("%q: not replaced: %v", c, err)
			}
		})
	}
}

// A config in force that is of no use costs the place in the cluster, not the config that is wanted.
func TestStoreWithoutConfigInForce(t *testing.T) {
	var log strings.Builder
	s := testStore(t, &log)
	if err := s.Save(host.Saved{Config: testConfig("web"), InForce: &plan.Config{}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Load(); got.Config.Removed() || got.InForce != nil {
		t.Errorf("loaded %+v", got)
	}
}

// The state directory may be a mount, or hold what others put there.
func TestSavedClustersLeaveOthersAlone(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "lost+found", "file")
	if err := os.MkdirAll(filepath.Dir(foreign), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{foreign: "x", lockPath(dir): "1"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	for _, name := range []string{"web", "db"} {
		if err := newStore(dir, name, log).Save(host.Saved{Config: testConfig(name)}); err != nil {
			t.Fatal(err)
		}
	}
	names, err := savedClusters(dir)
	if err != nil || !slices.Equal(names, []string{"db", "web"}) {
		t.Fatalf("saved are %v, %v", names, err)
	}
	for _, name := range append(names, "lost+found") {
		if err := newStore(dir, name, log).remove(); err != nil {
			t.Error(err)
		}
	}
	if names, err := savedClusters(dir); err != nil || len(names) > 0 {
		t.Errorf("left are %v, %v", names, err)
	}
	if !exists(foreign) {
		t.Error("a foreign file is gone")
	}
}
