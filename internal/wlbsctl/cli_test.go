// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/wlbsctl/top"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// offline runs a command line that must not get as far as an API server.
func offline(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, errOut: &errOut, now: time.Now}
	a.config = func() (*rest.Config, error) { return nil, errors.New("an API server was asked for") }
	code = a.run(t.Context(), args)
	return code, out.String(), errOut.String()
}

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct{ args, message string }{
		{"reboot", `there is no command "reboot"`},
		{"stop", "say which cluster, node or host"},
		{"drain", "say which port"},
		{"drain 80", "say which cluster, node or host"},
		{"drain eighty! web", "not a port"},
		{"stop --force web", "unknown flag: --force"},
		{"stop web -o wide", `"wide" is not known, use json, yaml`},
		{"query -o table", `"table" is not known, use json, yaml, wide`},
		{"queryport", "requires at least 1 arg"},
		{"drainstop web --drain-timeout -1s", "not between 0s and 24h"},
		{"drainstop web --drain-timeout 25h", "not between 0s and 24h"},
		{"stop web --timeout -1s", "--timeout -1s is negative"},
		{"display --events -1", "is negative"},
		{"top --interval 1ms", "shorter than 100ms"},
		{"ip2mac", "say which"},
	} {
		t.Run(test.args, func(t *testing.T) {
			code, stdout, stderr := offline(t, strings.Fields(test.args)...)
			if code != ExitUsage || !strings.Contains(stderr, test.message) || stdout != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d and %q", code, stdout, stderr, ExitUsage, test.message)
			}
		})
	}
}

func TestErrorOfTheAPIServer(t *testing.T) {
	if code, _, stderr := offline(t, "query"); code != ExitError || stderr != "error: an API server was asked for\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}

func TestIP2MACOfAnAddressNeedsNoServer(t *testing.T) {
	code, stdout, stderr := offline(t, "ip2mac", "172.18.0.100", "-o", "json")
	var macs []words.MACs
	if err := json.Unmarshal([]byte(stdout), &macs); err != nil || code != ExitOK {
		t.Fatalf("exit code %d, %q, %q, %v", code, stdout, stderr, err)
	}
	want := words.MACs{Address: "172.18.0.100", Unicast: "02-bf-ac-12-00-64", Multicast: "03-bf-ac-12-00-64",
		IGMPMulticast: "01-00-5e-7f-00-64"}
	if len(macs) != 1 || macs[0] != want {
		t.Errorf("ip2mac prints %+v, want %+v", macs, want)
	}
}

func TestHelpNamesEveryCommand(t *testing.T) {
	code, stdout, _ := offline(t, "--help")
	for _, command := range []string{"query", "display", "params", "queryport", "ip2mac", "top", "start", "stop",
		"drainstop", "suspend", "resume", "enable", "disable", "drain", "completion"} {
		if !strings.Contains(stdout, "\n  "+command+" ") {
			t.Errorf("help lacks %s", command)
		}
	}
	if code != ExitOK || !strings.Contains(stdout, "kubectl wlbs [command]") {
		t.Errorf("exit code %d, help %q", code, stdout)
	}
}

func TestCombinedErrors(t *testing.T) {
	refused, gone := &exitError{code: ExitRefused}, failf(ExitNotFound, "gone")
	for name, test := range map[string]struct {
		failures []error
		code     int
		silent   bool
	}{
		"none":                    {nil, ExitOK, false},
		"said already":            {[]error{refused, refused}, ExitRefused, true},
		"the first decides":       {[]error{refused, gone}, ExitRefused, false},
		"an error without code":   {[]error{errors.New("broken"), gone}, ExitError, false},
		"wrapped codes are found": {[]error{fmt.Errorf("cluster web: %w", gone)}, ExitNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := combine(test.failures)
			if codeOf(err) != test.code || silent(err) != test.silent {
				t.Errorf("combine() = %v with code %d, silent %v", err, codeOf(err), silent(err))
			}
		})
	}
}

func TestNoColour(t *testing.T) {
	for value, want := range map[string]top.Palette{"": top.Colours, "1": top.Emphasis} {
		if got := palette(func(string) string { return value }); got != want {
			t.Errorf("NO_COLOR=%q: palette %v, want %v", value, got, want)
		}
	}
}

func converged(id int, members ...int32) func(*v1alpha1.LoadBalancingHost) {
	return func(h *v1alpha1.LoadBalancingHost) {
		h.Status.State, h.Status.Members, h.Status.DefaultHostID = v1alpha1.HostConverged, members, new(members[0])
		h.Status.Traffic = v1alpha1.HostTraffic{Admitted: new(int64(10)), Rejected: new(int64(20)),
			Rules: []v1alpha1.RuleTraffic{{Rule: "all", Accepted: new(int64(7)), Dropped: new(int64(14)),
				Opened: new(int64(2))}}, Delivered: new(int64(9)),
			Answered: new(int64(8)), Transmitted: new(int64(7)), Connections: new(int64(id))}
		h.Status.Buckets = []v1alpha1.RuleBuckets{{Rule: v1alpha1.AllPortsRuleName, Count: new(int32(30)), Map: "3fffffff"}}
		h.Status.RenewTime, h.Status.LeaseSeconds = &metav1.MicroTime{Time: time.Now()}, new(int32(90))
		h.Status.ClusterGeneration, h.Status.OfferedClusterGeneration = new(int64(1)), new(int64(1))
	}
}

func TestQueryExitCodes(t *testing.T) {
	f := newFixture(t, "health", "10.80.10.100", 2)
	stdout, _ := f.want(ExitNotConverged, "query", "health")
	if want := "Host 1 has not reported yet; it lists the following host(s):\n1\n"; !strings.Contains(stdout, want) {
		t.Errorf("query prints %q, want %q", stdout, want)
	}
	for id := 1; id <= 2; id++ {
		f.setHost(id, converged(id, 1, 2))
	}
	stdout, _ = f.want(ExitOK, "query", "health")
	for _, want := range []string{"Cluster health (10.80.10.100)\n", "Host 2 is node health-2\n",
		"Host 1 converged as DEFAULT with the following host(s) as part of the cluster:\n1,2\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("query prints %q, want %q", stdout, want)
		}
	}
	f.setHost(2, func(h *v1alpha1.LoadBalancingHost) {
		h.Status.Stall = &v1alpha1.HostStall{Reason: v1alpha1.StallEgressQueue, Queue: "class 1:10",
			Message: "73 packets wait"}
	})
	f.want(ExitOK, "query", "health:1")
	f.want(ExitStalled, "query", "health")
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) { h.Status.State = v1alpha1.HostConverging })
	f.want(ExitNotConverged, "query", "health")
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) {
		h.Spec.DesiredState, h.Status.State = v1alpha1.DesiredStateStopped, v1alpha1.HostStopped
	})
	f.want(ExitOK, "query", "health:1") // as it should be
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) {
		h.Spec.DesiredState, h.Status.State = v1alpha1.DesiredStateStarted, v1alpha1.HostConverged
		h.Status.RenewTime = &metav1.MicroTime{Time: time.Now().Add(-time.Hour)}
	})
	stdout, _ = f.want(ExitNotConverged, "query", "health:1")
	if !strings.Contains(stdout, "last reported 1h0m") {
		t.Errorf("query prints %q, and not how old the report is", stdout)
	}
	f.want(ExitNotFound, "query", "health:3")
}

// A crashed host cannot report that it is gone: its last report says Converged until its lease is over. Its peers know.
func TestQueryBelievesPeersOfACrashedHost(t *testing.T) {
	reported := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-a",
		HostID: 1}}
	host.Status.State, host.Status.LeaseSeconds = v1alpha1.HostConverged, new(int32(90))
	host.Status.RenewTime = &metav1.MicroTime{Time: reported}
	for name, tc := range map[string]struct {
		state        v1alpha1.HostState
		lastReport   time.Time
		wantAsWished bool
	}{
		"member":                   {v1alpha1.HostConverged, time.Time{}, true},
		"dropped":                  {v1alpha1.HostUnknown, reported.Truncate(time.Second), false},
		"reported again meanwhile": {v1alpha1.HostUnknown, reported.Truncate(time.Second).Add(-time.Second), true},
	} {
		t.Run(name, func(t *testing.T) {
			known := v1alpha1.ClusterHostStatus{NodeName: "node-a", State: tc.state}
			if !tc.lastReport.IsZero() {
				known.LastReportTime = &metav1.Time{Time: tc.lastReport}
			}
			cluster := &v1alpha1.LoadBalancingCluster{}
			cluster.Status.Hosts = []v1alpha1.ClusterHostStatus{{NodeName: "node-b", State: v1alpha1.HostUnknown}, known}
			if is := asDesired(selected{cluster: cluster, host: host}, reported.Add(time.Second)); is != tc.wantAsWished {
				t.Errorf("as desired: %v, want %v", is, tc.wantAsWished)
			}
		})
	}
}

func TestOutputs(t *testing.T) {
	f := newFixture(t, "outputs", "10.80.11.100", 2)
	for id := 1; id <= 2; id++ {
		f.setHost(id, converged(id, 1, 2))
	}
	stdout, _ := f.want(ExitOK, "query", "outputs", "-o", "yaml")
	var list v1alpha1.LoadBalancingHostList
	if err := yaml.UnmarshalStrict([]byte(stdout), &list); err != nil || len(list.Items) != 2 ||
		list.Items[1].Spec.HostID != 2 {
		t.Errorf("query -o yaml: %v, %q", err, stdout)
	}
	stdout, _ = f.want(ExitOK, "query", "outputs:2", "-o", "wide")
	if want := "Rule all                  30 buckets  3fffffff\n"; !strings.Contains(stdout, want) {
		t.Errorf("query -o wide prints %q, want %q", stdout, want)
	}
	stdout, _ = f.want(ExitOK, "params", "outputs:2")
	if want := "HostPriority              = 2\n"; !strings.Contains(stdout, want) {
		t.Errorf("params prints %q, want %q", stdout, want)
	}
	stdout, _ = f.want(ExitOK, "params", "outputs:2", "-o", "json")
	var both []hostAndCluster
	if err := json.Unmarshal([]byte(stdout), &both); err != nil || len(both) != 1 || both[0].Cluster.Name != "outputs" ||
		both[0].Host.Spec.HostID != 2 {
		t.Errorf("params -o json: %v, %q", err, stdout)
	}
	stdout, _ = f.want(ExitOK, "queryport", "443", "outputs:1")
	want := "Host 1 (outputs-1) of outputs: rule all, ports 0-65535 Both for all virtual IPs, is enabled and has 30 of 60 buckets.\n" +
		"  Packets: Accepted=7, Dropped=14\n"
	if stdout != want {
		t.Errorf("queryport prints %q, want %q", stdout, want)
	}
	stdout, _ = f.want(ExitOK, "ip2mac", "outputs")
	if want := "Multicast MAC:       03-bf-0a-50-0b-64  <- in force\n"; !strings.Contains(stdout, want) {
		t.Errorf("ip2mac prints %q, want %q", stdout, want)
	}
	stdout, _ = f.want(ExitOK, "top", "outputs:1")
	if want := " all 0-65535       !!!"; !strings.Contains(stdout, want) || strings.Contains(stdout, "\x1b") {
		t.Errorf("top without a terminal prints %q, want %q and no escape sequence", stdout, want)
	}
	f.want(ExitNotFound, "top", "shop")
}

func TestDisplayHasTheLastEvents(t *testing.T) {
	f := newFixture(t, "events", "10.80.12.100", 1)
	post := func(name, kind, object, reason string, at time.Time) {
		t.Helper()
		e := &corev1.Event{
			TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
			ObjectMeta:     metav1.ObjectMeta{Name: name, Namespace: "default"},
			InvolvedObject: corev1.ObjectReference{Kind: kind, Name: object, APIVersion: v1alpha1.GroupVersion.String()},
			Reason:         reason, Message: "message of " + name, Type: corev1.EventTypeNormal,
			LastTimestamp: metav1.NewTime(at), Count: 3,
		}
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		created := f.client.core.Post().Resource("events").Namespace("default").Body(body).Do(t.Context())
		if err := created.Error(); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	post("third", hostKind, "events.events-1", "MemberLost", now)
	post("first", clusterKind, "events", "Converged", now.Add(-2*time.Hour))
	post("second", clusterKind, "events", "MemberJoined", now.Add(-time.Hour))
	post("another", clusterKind, "events2", "Converged", now)

	stdout, _ := f.want(ExitOK, "display", "events", "--events", "2")
	_, tail, _ := strings.Cut(stdout, "Last events of cluster events:\n")
	lines := strings.Split(strings.TrimSpace(tail), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "message of second") ||
		!strings.Contains(lines[1], "message of third (3 times)") {
		t.Errorf("events are %q", lines)
	}
	for _, want := range []string{"Retrieving parameters\n", "State:\nHost 1 is node events-1\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("display lacks %q: %q", want, stdout)
		}
	}
}

func TestWait(t *testing.T) {
	f := newFixture(t, "waiting", "10.80.13.100", 1)
	f.setHost(1, converged(1, 1))
	_, stderr := f.want(ExitTimeout, "stop", "waiting:1", "--wait", "--timeout", "600ms")
	if !strings.Contains(stderr, "not done after 600ms: Host 1 (waiting-1) of waiting its object asks for Started") {
		t.Errorf("stderr %q does not say where the host is", stderr)
	}
	f.want(ExitOK, "start", "waiting:1")

	type exit struct {
		code   int
		stderr string
	}
	done := make(chan exit, 1)
	go func() {
		code, _, stderr := f.run("drainstop", "waiting:1", "--wait", "--timeout", "1m")
		done <- exit{code, stderr}
	}()
	f.eventually(func() bool { return f.desired(1) == v1alpha1.DesiredStateDrained })
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) {
		h.Spec.DesiredState, h.Status.State = v1alpha1.DesiredStateDrained, v1alpha1.HostDraining
	})
	select {
	case e := <-done:
		t.Fatalf("it did not wait for the drain: %+v", e)
	case <-time.After(3 * waitInterval):
	}
	f.setHost(1, func(h *v1alpha1.LoadBalancingHost) { h.Status.State = v1alpha1.HostStopped })
	e := <-done
	if e.code != ExitOK || !strings.Contains(e.stderr,
		"waiting for Host 1 (waiting-1) of waiting: draining, 1 connection(s) left\n") {
		t.Errorf("exit code %d, stderr %q", e.code, e.stderr)
	}
	// The drain is over, so that this is what WLBS calls "already stopped", and no interruption.
	stdout, _ := f.want(ExitOK, "stop", "waiting:1")
	if want := "Host 1 (waiting-1) of waiting: cluster mode already stopped.\n"; stdout != want {
		t.Errorf("stop prints %q, want %q", stdout, want)
	}
}

func TestReachedRules(t *testing.T) {
	host := func(edit func(*v1alpha1.LoadBalancingHost)) selected {
		h := &v1alpha1.LoadBalancingHost{}
		converged(1, 1)(h)
		h.Generation, h.Status.ObservedGeneration = 4, new(int64(4))
		h.Spec.Rules = []v1alpha1.HostRule{{Name: "http", State: v1alpha1.RuleStateDrained}}
		h.Status.Buckets = []v1alpha1.RuleBuckets{{Rule: "http", Count: new(int32(0))}, {Rule: "dns", Count: new(int32(60))}}
		edit(h)
		return selected{host: h}
	}
	for name, test := range map[string]struct {
		edit func(*v1alpha1.LoadBalancingHost)
		want bool
	}{
		"done": {func(*v1alpha1.LoadBalancingHost) {}, true},
		"still has buckets": {func(h *v1alpha1.LoadBalancingHost) {
			h.Status.Buckets[0].Count = new(int32(20))
		}, false},
		"converging": {func(h *v1alpha1.LoadBalancingHost) {
			h.Status.State = v1alpha1.HostConverging
		}, false},
		"reports of an earlier spec": {func(h *v1alpha1.LoadBalancingHost) { h.Generation = 5 }, false},
		"config not in force": {func(h *v1alpha1.LoadBalancingHost) {
			h.Status.OfferedClusterGeneration = new(int64(2))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := reachedRules(host(test.edit)); got != test.want {
				t.Errorf("reachedRules() = %v", got)
			}
		})
	}
}

// kubectl asks kubectl_complete-wlbs, which asks the plugin by cobra's own command.
func TestCompletionOnServer(t *testing.T) {
	f := newFixture(t, "tabs", "10.80.14.100", 2)
	stdout, _ := f.want(ExitOK, "__complete", "stop", "tabs:")
	for _, want := range []string{"tabs:1\ttabs-1, Unknown\n", "tabs:tabs-2\thost 2, Unknown\n", ":4\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("completions %q lack %q", stdout, want)
		}
	}
	stdout, _ = f.want(ExitOK, "__complete", "drain", "")
	if want := "ALL\tall port rules\n"; !strings.Contains(stdout, want) {
		t.Errorf("completions %q lack %q", stdout, want)
	}
	stdout, _ = f.want(ExitOK, "__complete", "drain", "80", "tab")
	if want := "tabs\tcluster 10.80.14.100\n"; !strings.Contains(stdout, want) {
		t.Errorf("completions %q lack %q", stdout, want)
	}
	if stdout, _ = f.want(ExitOK, "__complete", "query", "-o", ""); !strings.Contains(stdout, "json\nyaml\nwide\n") {
		t.Errorf("completions of -o are %q", stdout)
	}
}

func TestWithoutWLBS(t *testing.T) {
	f := newFixture(t, "absent", "10.80.15.100", 0)
	f.config.Impersonate = rest.ImpersonationConfig{UserName: "nobody"}
	_, stderr := f.want(ExitError, "query")
	if want := "WLBS is not installed on this system or you do not have sufficient privileges to administer the cluster"; !strings.Contains(stderr, want) {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

func TestKubeconfigFlag(t *testing.T) {
	var out, errOut bytes.Buffer
	path := filepath.Join(t.TempDir(), "none")
	code := Run(t.Context(), []string{"query", "--kubeconfig", path}, Streams{Out: &out, Err: &errOut})
	if code != ExitError || !strings.Contains(errOut.String(), path) {
		t.Errorf("exit code %d, stderr %q", code, errOut.String())
	}
}
