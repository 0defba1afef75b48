// SPDX-License-Identifier: Apache-2.0

package top

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// thirds gives hosts 1 to 3 twenty buckets each, or everything to host 1.
func mapsOf(id int) (own, all bucket.Map) {
	for b := range bucket.Count {
		if b/20 == id-1 {
			own = own.With(b)
		}
		if id == 1 {
			all = all.With(b)
		}
	}
	return own, all
}

func host(cluster string, id int, edit ...func(*v1alpha1.LoadBalancingHost)) v1alpha1.LoadBalancingHost {
	own, all := mapsOf(id)
	h := v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s.node-%c", cluster, 'a'+id-1), UID: "1"},
		Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: cluster, NodeName: fmt.Sprintf("node-%c", 'a'+id-1),
			HostID: int32(id)},
		Status: v1alpha1.LoadBalancingHostStatus{
			State: v1alpha1.HostConverged, Members: []int32{1, 2, 3}, DefaultHostID: new(int32(1)), Epoch: new(int64(7)),
			Buckets: []v1alpha1.RuleBuckets{{Rule: "http", Map: own.String()}, {Rule: "dns", Map: all.String()},
				{Rule: v1alpha1.DefaultRuleName, Map: all.String()}},
			Traffic: v1alpha1.HostTraffic{Admitted: new(int64(12345)), Delivered: new(int64(12340)), Answered: new(int64(9999)),
				Transmitted: new(int64(10500)), Connections: new(int64(120 * id))},
			RenewTime: &metav1.MicroTime{Time: noon.Add(-time.Duration(3*id) * time.Second)}, LeaseSeconds: new(int32(90)),
		},
	}
	for _, e := range edit {
		e(&h)
	}
	return h
}

func cluster(name string, conditions ...metav1.Condition) v1alpha1.LoadBalancingCluster {
	return v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.LoadBalancingClusterSpec{
			VirtualIPs: []string{"172.18.0.100", "fd00:172:18::100"},
			PortRules: []v1alpha1.PortRule{
				{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}, Protocol: v1alpha1.ProtocolTCP},
				{Name: "dns", Ports: v1alpha1.PortRange{From: 53, To: 53}, FilteringMode: v1alpha1.FilteringModeSingle},
				{Name: "a-rule-with-a-long-name", Ports: v1alpha1.PortRange{From: 8000, To: 8999},
					FilteringMode: v1alpha1.FilteringModeDisabled},
			},
		},
		Status: v1alpha1.LoadBalancingClusterStatus{
			Conditions: conditions, DefaultHost: "node-a", Epoch: new(int64(7)),
			LastConvergence: &v1alpha1.ConvergenceRecord{
				Cause: v1alpha1.CauseNewMember, StartedAt: &metav1.Time{Time: noon.Add(-5 * time.Minute)},
				DurationMilliseconds: new(int64(1240)),
			},
		},
	}
}

func healthy() *State {
	return &State{
		Snapshot: Snapshot{
			Clusters: []v1alpha1.LoadBalancingCluster{cluster("web",
				metav1.Condition{Type: v1alpha1.ConditionConverged, Status: metav1.ConditionTrue})},
			Hosts: []v1alpha1.LoadBalancingHost{host("web", 1), host("web", 2), host("web", 3)},
		},
		Rates: map[string]Rates{
			"web.node-a": {1234, 1234, 1200, 1300}, "web.node-b": {88, 88, 80, 90.4}, // nothing of node-c yet
		},
		Now: noon,
	}
}

// troubled is a cluster with one of everything that can be wrong.
func troubled() *State {
	s := healthy()
	s.Clusters = append(s.Clusters, cluster("database"))
	s.Clusters[0].Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionConverged, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonConverging},
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonTrafficStalled,
			Message: "host node-b carries no traffic: EgressQueueStalled on class 1:10"},
	}
	s.Clusters[0].Status.Hosts = []v1alpha1.ClusterHostStatus{{NodeName: "node-e",
		Message: "its last report is older than its lease"}}
	s.Hosts = []v1alpha1.LoadBalancingHost{
		host("web", 1),
		host("web", 2, func(h *v1alpha1.LoadBalancingHost) {
			h.Status.Stall = &v1alpha1.HostStall{Reason: v1alpha1.StallEgressQueue, Queue: "class 1:10",
				Message: "73 packets wait in the queue and none of them was sent for 5 s, while the interface sent 412 other packets"}
		}),
		host("web", 3, func(h *v1alpha1.LoadBalancingHost) {
			h.Status.State, h.Status.Members = v1alpha1.HostConverging, []int32{1, 3}
			h.Spec.Rules = []v1alpha1.HostRule{{Name: "http", State: v1alpha1.RuleStateDrained}}
			both, _ := mapsOf(2)
			h.Status.Buckets[0].Map = both.String() // what host 2 has too
		}),
		host("web", 4, func(h *v1alpha1.LoadBalancingHost) {
			h.Spec.DesiredState = v1alpha1.DesiredStateDrained
			h.Status.State, h.Status.Members = v1alpha1.HostStopped, []int32{4}
		}),
		host("web", 5, func(h *v1alpha1.LoadBalancingHost) {
			h.Status.State = v1alpha1.HostUnknown
			h.Status.RenewTime = &metav1.MicroTime{Time: noon.Add(-10 * time.Minute)}
		}),
		host("web", 6, func(h *v1alpha1.LoadBalancingHost) { h.Status = v1alpha1.LoadBalancingHostStatus{} }),
	}
	return s
}

func TestRender(t *testing.T) {
	manyHosts := healthy()
	for id := 4; id <= 26; id++ {
		manyHosts.Hosts = append(manyHosts.Hosts, host("web", id))
	}
	scrolled := *manyHosts
	scrolled.Scroll = 6
	broken := healthy()
	broken.Problem = "list LoadBalancingHosts: connection refused"
	for name, test := range map[string]struct {
		state         *State
		width, height int
		palette       Palette
	}{
		"healthy":        {healthy(), 80, 24, Monochrome},
		"colours":        {healthy(), 80, 24, Colours},
		"emphasis":       {troubled(), 80, 24, Emphasis},
		"troubled":       {troubled(), 80, 24, Monochrome},
		"troubled-small": {troubled(), 62, 16, Monochrome},
		"wide":           {troubled(), 132, 30, Monochrome},
		"many-hosts":     {manyHosts, 80, 24, Monochrome},
		"scrolled":       {&scrolled, 80, 24, Monochrome},
		"no-cluster":     {&State{Now: noon}, 80, 8, Monochrome},
		"api-gone":       {broken, 80, 24, Monochrome},
	} {
		t.Run(name, func(t *testing.T) { golden(t, name, Render(test.state, test.width, test.height), test.palette) })
	}
}

// Without a terminal there is one picture, and no rates could be known.
func TestRenderAll(t *testing.T) {
	s := troubled()
	s.Rates = nil
	golden(t, "all", RenderAll(s), Monochrome)
	golden(t, "all-empty", RenderAll(&State{}), Monochrome)
}

func golden(t *testing.T, name string, lines []Line, p Palette) {
	t.Helper()
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.ReplaceAll(p.Encode(line), "\x1b", "^[") + "\n")
	}
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("%s differs, -update writes it anew (-want +got):\n%s", path, diff)
	}
}

// A screen of any size gets exactly its lines, none of them too long, however far it is scrolled.
func TestRenderFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := troubled()
		width, height := rapid.IntRange(1, 200).Draw(t, "width"), rapid.IntRange(1, 60).Draw(t, "height")
		s.Scroll = rapid.IntRange(-3, 60).Draw(t, "scroll")
		s.Selected = rapid.IntRange(0, 3).Draw(t, "selected")
		lines := Render(s, width, height)
		if len(lines) != height {
			t.Fatalf("%d lines, want %d", len(lines), height)
		}
		for i, line := range lines {
			if line.width() > width {
				t.Fatalf("line %d has %d columns, want at most %d: %q", i, line.width(), width, Monochrome.Encode(line))
			}
		}
	})
}

func TestScrollReachesTheLastLine(t *testing.T) {
	s := troubled()
	const width, height = 80, 12
	all := RenderAll(&State{Snapshot: Snapshot{Clusters: s.Clusters[:1], Hosts: s.Hosts}, Rates: s.Rates, Now: s.Now})
	s.Scroll = MaxScroll(s, width, height)
	lines := Render(s, width, height)
	last, want := Monochrome.Encode(lines[height-2]), Monochrome.Encode(all[len(all)-1])
	if last != want {
		t.Errorf("the last line in view is %q, want %q", last, want)
	}
}

func TestOwners(t *testing.T) {
	with := func(id int, state v1alpha1.HostState, epoch int64, m bucket.Map) *v1alpha1.LoadBalancingHost {
		h := host("web", id)
		h.Status.State, h.Status.Epoch = state, &epoch
		h.Status.Buckets = []v1alpha1.RuleBuckets{{Rule: "http", Map: m.String()}}
		return &h
	}
	for name, test := range map[string]struct {
		hosts []*v1alpha1.LoadBalancingHost
		want  string
	}{
		"nobody":  {nil, "."},
		"one":     {[]*v1alpha1.LoadBalancingHost{with(2, v1alpha1.HostConverged, 1, 1)}, "2"},
		"host 32": {[]*v1alpha1.LoadBalancingHost{with(32, v1alpha1.HostConverged, 1, 1)}, "w"},
		"two in one epoch": {[]*v1alpha1.LoadBalancingHost{with(1, v1alpha1.HostConverged, 1, 1),
			with(2, v1alpha1.HostConverged, 1, 1)}, "!"},
		"the later epoch counts": {[]*v1alpha1.LoadBalancingHost{with(1, v1alpha1.HostConverged, 2, 1),
			with(2, v1alpha1.HostConverged, 1, 1)}, "1"},
		"in any order": {[]*v1alpha1.LoadBalancingHost{with(1, v1alpha1.HostConverged, 1, 1),
			with(2, v1alpha1.HostConverged, 2, 1)}, "2"},
		"a stopped host has none": {[]*v1alpha1.LoadBalancingHost{with(1, v1alpha1.HostStopped, 1, 1)}, "."},
		"an unknown host's report is no news": {[]*v1alpha1.LoadBalancingHost{with(1, v1alpha1.HostUnknown, 1, 1),
			with(2, v1alpha1.HostConverged, 1, 1)}, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			cells := Monochrome.Encode(ownersOf("http", test.hosts).cells())
			if want := test.want + strings.Repeat(".", bucket.Count-1); cells != want {
				t.Errorf("cells are %q, want %q", cells, want)
			}
		})
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[float64]string{
		0: "0", 0.4: "0", 999.4: "999", 999.6: "1.0k", 9949: "9.9k", 9951: "10k", 123456: "123k", 999600: "1.0M",
		5.6e6: "5.6M", 1e18: "1.0E", 9e21: "9000E",
	} {
		if got := count(n); got != want {
			t.Errorf("count(%v) = %q, want %q", n, got, want)
		}
	}
}
