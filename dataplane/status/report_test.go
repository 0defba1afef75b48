// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

var morning = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// facts returns those of a host that serves, for tests to change.
func facts(change ...func(*Facts)) *Facts {
	f := &Facts{
		Now: morning, HostID: 2, HostGeneration: 4, OfferedGeneration: 7, InForceGeneration: new(int64(7)),
		View: &convergence.View{
			State: convergence.StateConverged, Members: heartbeat.SetOf(1, 2, 3), Committed: heartbeat.SetOf(1, 2), Default: 1,
			Epoch: 12, Convergences: 3, Cause: convergence.CauseNewMember, Started: time.Minute,
			Finished: time.Minute + 230*time.Millisecond,
		},
		ConvergenceStarted: morning.Add(-time.Hour),
		Rules: []Rule{
			{Name: "http", Own: 0b1111, Accepted: 100, Dropped: 50, Opened: 9},
			{Name: "default", Accepted: 1},
		},
		Traffic: Traffic{
			Admitted: 101, Rejected: 50, Invalid: 2, Delivered: 99, Answered: 98, Transmitted: 500, Completed: 8, Untracked: 1,
			Connections: 7,
		},
		Dataplane: Dataplane{
			Interface: "eth0", HostMAC: "02:77:00:00:00:02", ClusterMAC: "03:bf:0a:4d:00:64", Hook: v1alpha1.HookXDP,
			WishedHook: v1alpha1.HookAuto,
			VirtualIPs: []netip.Addr{netip.MustParseAddr("10.77.0.100"), netip.MustParseAddr("fd77::100")},
		},
	}
	for _, c := range change {
		c(f)
	}
	return f
}

func TestReportGolden(t *testing.T) {
	for name, f := range map[string]*Facts{
		"serving": facts(),
		"starting": facts(func(f *Facts) {
			f.View = &convergence.View{State: convergence.StateConverging, Members: heartbeat.SetOf(2)}
			f.InForceGeneration, f.Rules = nil, []Rule{{Name: "http"}, {Name: "default"}}
		}),
		"stalled": facts(func(f *Facts) {
			f.Stall = Stall{
				Reason: v1alpha1.StallEgressQueue, Queue: "class 1:10 (eth0)", Message: "holds 9 packets",
				Since: morning.Add(-time.Minute),
			}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			content, err := yaml.Marshal(Report(f))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".yaml")
			if *rewrite {
				if err := os.WriteFile(path, content, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(content)); diff != "" {
				t.Errorf("(-want +got), -rewrite takes it over:\n%s", diff)
			}
		})
	}
}

// condition is a condition in short: "True Serving: message".
func condition(s *v1alpha1.LoadBalancingHostStatus, kind string) string {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

func TestConditions(t *testing.T) {
	const (
		ready      = v1alpha1.ConditionReady
		dataplane  = v1alpha1.ConditionDataplaneReady
		consistent = v1alpha1.ConditionConfigConsistent
		converged  = v1alpha1.ConditionConverged
	)
	conflict := func(reason convergence.Cause) func(*Facts) {
		return func(f *Facts) {
			f.View.Conflicts = []convergence.Conflict{{Reason: reason, Message: "a and b differ"}, {Message: "so do c and d"}}
		}
	}
	refused := []Refused{{VirtualIP: netip.MustParseAddr("10.77.0.101"), Interface: "eth1"}}
	for name, test := range map[string]struct {
		change func(*Facts)
		kind   string
		want   string
	}{
		"serves": {func(*Facts) {}, ready, "True Serving: host converged, members 1,2, epoch 12"},
		"filter": {func(*Facts) {}, dataplane, "True DataplaneReady: filter at XDP of eth0"},
		"another hook": {func(f *Facts) { f.Dataplane.WishedHook = v1alpha1.HookTCX }, dataplane,
			"True DataplaneReady: filter at XDP of eth0, not at TCX: the clusters on an interface share one hook, which the oldest that names one chooses if it is possible there"},
		"heartbeat unsent": {func(f *Facts) { f.SendError = Because(v1alpha1.ReasonMTUTooSmall, errors.New("MTU 1400")) },
			dataplane, "False MTUTooSmall: MTU 1400"},
		"ended": {func(f *Facts) { f.Ended, f.SendError = "the node shuts down", errors.New("down") }, dataplane,
			"False AgentEnded: the node shuts down"},
		"host ID twice": {conflict(convergence.CauseDuplicateHostID), consistent,
			"False DuplicateHostID: a and b differ; so do c and d"},
		"number of rules": {conflict(convergence.CauseNumberOfRules), consistent,
			"False RulesDiffer: a and b differ; so do c and d"},
		"other rules": {conflict(convergence.CauseModifiedRules), consistent,
			"False RulesDiffer: a and b differ; so do c and d"},
		"priority twice": {conflict(convergence.CauseBadConfig), consistent,
			"False DuplicateHandlingPriority: a and b differ; so do c and d"},
		"other conflict": {conflict(convergence.CauseUnknown), ready,
			"False ConfigInconsistent: a and b differ; so do c and d"},
		"config refused": {func(f *Facts) { f.ConfigError = errors.New("no port") }, consistent,
			"False Conflict: config refused, the last one stays in force: no port"},
		"own address": {func(f *Facts) { f.Refused = refused }, consistent,
			"False VirtualIPIsNodeAddress: virtual IP 10.77.0.101 is this node's own address on eth1 and is not served here"},
		"stalled": {func(f *Facts) { f.Stall.Reason = v1alpha1.StallIngressQueue }, ready,
			"False TrafficStalled: IngressQueueStalled"},
		"stalled queue": {func(f *Facts) { f.Stall = Stall{Reason: v1alpha1.StallEgressQueue, Queue: "class 1:10"} },
			v1alpha1.ConditionTrafficStalled, "True EgressQueueStalled: EgressQueueStalled on class 1:10"},
		"no stall": {func(*Facts) {}, v1alpha1.ConditionTrafficStalled, "False TrafficFlows: "},
		"table full": {func(f *Facts) { f.TableFull = "all 100" }, v1alpha1.ConditionConnectionTableFull,
			"True ConnectionTableFull: all 100"},
		"table has room": {func(*Facts) {}, v1alpha1.ConditionConnectionTableFull, "False ConnectionsTracked: "},
		"drains": {func(f *Facts) { f.View.State = convergence.StateDraining }, converged,
			"False Draining: host draining, members 1,2, epoch 12, 7 connection(s) left"},
		"excluded": {func(f *Facts) { f.View.State = convergence.StateExcluded }, ready,
			"False NotConverged: host excluded, members 1,2,3, epoch 12"},
		"stalled, excluded": {func(f *Facts) { f.View.State, f.Stall.Reason = convergence.StateExcluded, "x" }, ready,
			"False NotConverged: host excluded, members 1,2,3, epoch 12"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := condition(Report(facts(test.change)), test.kind); got != test.want {
				t.Errorf("%s is\n%s, want\n%s", test.kind, got, test.want)
			}
		})
	}
}

// Conditions keep the time of their last change, whatever else changes.
func TestTransitionTimes(t *testing.T) {
	before := Report(facts())
	later := Report(facts(func(f *Facts) {
		f.Before, f.Now = before.Conditions, morning.Add(time.Hour)
		f.Stall.Reason = v1alpha1.StallIngressQueue
	}))
	for _, c := range later.Conditions {
		want := morning
		if c.Type == v1alpha1.ConditionReady || c.Type == v1alpha1.ConditionTrafficStalled {
			want = morning.Add(time.Hour)
		}
		if !c.LastTransitionTime.Time.Equal(want) {
			t.Errorf("%s changed at %v, want %v", c.Type, c.LastTransitionTime, want)
		}
	}
	if condition(before, v1alpha1.ConditionTrafficStalled) != "False TrafficFlows: " {
		t.Error("the report before was changed")
	}
}

func TestStates(t *testing.T) {
	want := map[convergence.State]v1alpha1.HostState{
		convergence.StateStopped: v1alpha1.HostStopped, convergence.StateSuspended: v1alpha1.HostSuspended,
		convergence.StateConverging: v1alpha1.HostConverging, convergence.StateConverged: v1alpha1.HostConverged,
		convergence.StateDraining: v1alpha1.HostDraining, convergence.StateExcluded: v1alpha1.HostExcluded,
		convergence.StateLeaving: v1alpha1.HostDraining, convergence.StateDisconnected: v1alpha1.HostDisconnected,
		convergence.State(99): v1alpha1.HostUnknown,
	}
	for from, to := range want {
		if got := Report(facts(func(f *Facts) { f.View.State = from })).State; got != to {
			t.Errorf("%v is %s, want %s", from, got, to)
		}
	}
}

func TestLastConvergence(t *testing.T) {
	if r := Report(facts(func(f *Facts) { f.View.Cause = convergence.CauseNone })).LastConvergence; r != nil {
		t.Errorf("without a convergence: %+v", r)
	}
	if r := Report(facts(func(f *Facts) { f.View.Finished = 0 })).LastConvergence; r.DurationMilliseconds != nil {
		t.Errorf("a convergence that runs has a duration: %+v", r)
	}
	r := Report(facts(func(f *Facts) { f.ClientListsMissing = true })).LastConvergence
	if r.Cause != v1alpha1.CauseStickinessSynchronizationFailure || *r.DurationMilliseconds != 230 {
		t.Errorf("without the lists of all members: %+v", r)
	}
}

func TestReportFailure(t *testing.T) {
	err := fmt.Errorf("set up: %w", Because(v1alpha1.ReasonInterfaceNotFound, errors.New("no eth7")))
	s := ReportFailure(&Failure{Now: morning, HostID: 3, HostGeneration: 5, Err: err})
	if s.State != v1alpha1.HostStopped || *s.ObservedGeneration != 5 || s.Columns.Members != "3" {
		t.Errorf("%+v", s)
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionConverged, v1alpha1.ConditionDataplaneReady} {
		if got, want := condition(s, kind), "False InterfaceNotFound: set up: no eth7"; got != want {
			t.Errorf("%s is %q, want %q", kind, got, want)
		}
	}
	if got := ReasonOf(errors.New("else")); got != v1alpha1.ReasonDataplaneError {
		t.Errorf("an error without a reason has %s", got)
	}
	if Because("x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestConnectionsLeft(t *testing.T) {
	for n, want := range map[int]string{
		0: "0 connection(s) left", 1: "1 connection(s) left", 99: "99 connection(s) left",
		100: "at least 100 connections left",
		109: "at least 100 connections left", 110: "at least 110 connections left",
		262144: "at least 260000 connections left",
	} {
		if got := connectionsLeft(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
