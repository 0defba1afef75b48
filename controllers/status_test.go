// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// convergedReport is what an agent says when all is well.
func convergedReport(epoch int64, state string, members ...int64) map[string]any {
	view, words := make([]any, len(members)), make([]string, len(members))
	for i, id := range members {
		view[i], words[i] = id, fmt.Sprint(id)
	}
	return map[string]any{
		"state": "Converged", "members": view, "epoch": epoch, "defaultHostID": members[0], "clusterGeneration": int64(1),
		"buckets":         []any{map[string]any{"rule": "all", "count": int64(60 / len(members)), "map": "fffff"}},
		"lastConvergence": map[string]any{"cause": "NewMember", "durationMilliseconds": int64(1240)},
		"columns":         map[string]any{"state": state, "members": strings.Join(words, ","), "buckets": fmt.Sprint(60 / len(members)), "stalled": "False"},
		"dataplane":       map[string]any{"interface": "eth0", "hook": "XDP"},
		"conditions": []any{map[string]any{
			"type": "Converged", "status": "True", "reason": "Converged", "message": "members 1,2,3", "lastTransitionTime": "2026-01-02T03:04:05Z",
		}},
	}
}

func stall(report map[string]any) map[string]any {
	report["stall"] = map[string]any{"reason": "EgressQueueStalled", "queue": "class 1:10", "message": "73 packets wait, none sent in 5 s"}
	report["columns"].(map[string]any)["stalled"] = "EgressQueueStalled"
	return report
}

// table splits what kubectl get prints into cells.
func table(out string) [][]string {
	var rows [][]string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Fields(line))
	}
	return rows
}

func TestStatus(t *testing.T) {
	c := start(t, 0)
	for _, node := range []string{"node-a", "node-b", "node-c"} {
		c.node(t, node)
	}
	c.lbc(t, "status", nil)
	c.waitForHosts(t, "status", "node-a:1", "node-b:2", "node-c:3")
	c.waitForCondition(t, "status", v1alpha1.ConditionConverged, metav1.ConditionFalse, v1alpha1.ReasonWaitingForHosts)

	t.Run("converged", func(t *testing.T) {
		c.report(t, "status", "node-a", convergedReport(7, "Converged as DEFAULT", 1, 2, 3))
		c.report(t, "status", "node-b", convergedReport(7, "Converged", 1, 2, 3))
		c.report(t, "status", "node-c", convergedReport(7, "Converged", 1, 2, 3))
		if _, err := server.Kubectl(t, "wait", "--for=condition=Converged", "--timeout=30s", "lbc/status"); err != nil {
			t.Fatal(err)
		}
		c.waitForCondition(t, "status", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
		note := c.waitForEvent(t, "status", "Converged")
		if !strings.Contains(note, "{1,2,3}") || !strings.Contains(note, "took 1240 ms") {
			t.Errorf("event says %q", note)
		}
	})
	t.Run("Q228942 stalled while converged", func(t *testing.T) {
		c.report(t, "status", "node-c", stall(convergedReport(7, "Converged", 1, 2, 3)))
		c.waitForCondition(t, "status", v1alpha1.ConditionTrafficStalled, metav1.ConditionTrue, "EgressQueueStalled")
		c.waitForCondition(t, "status", v1alpha1.ConditionConverged, metav1.ConditionTrue, v1alpha1.ReasonConverged)
		c.checkColumns(t)
		c.waitForEvent(t, "status", "EgressQueueStalled")
		// Reports that say the same again make no further event.
		for range 3 {
			c.report(t, "status", "node-c", stall(convergedReport(7, "Converged", 1, 2, 3)))
		}
		kubetest.Consistently(t, 300*time.Millisecond, func() error {
			if events := c.events(t, "status", "EgressQueueStalled"); len(events) != 1 || events[0].Series != nil {
				return fmt.Errorf("%d events for one stall: %+v", len(events), events)
			}
			return nil
		})
	})
	t.Run("stall clears", func(t *testing.T) {
		c.report(t, "status", "node-c", convergedReport(7, "Converged", 1, 2, 3))
		c.waitForCondition(t, "status", v1alpha1.ConditionTrafficStalled, metav1.ConditionFalse, v1alpha1.ReasonTrafficFlows)
		c.waitForEvent(t, "status", "TrafficRecovered")
	})
	t.Run("connection table full", func(t *testing.T) {
		const why = "all 1024 entries of the connection table are in use"
		c.report(t, "status", "node-b", tableFull(convergedReport(7, "Converged", 1, 2, 3), why))
		c.waitForCondition(t, "status", v1alpha1.ConditionConnectionTableFull, metav1.ConditionTrue, v1alpha1.ReasonConnectionTableFull)
		c.waitForCondition(t, "status", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
		if note := c.waitForEvent(t, "status", v1alpha1.ReasonConnectionTableFull); note != "node-b: "+why {
			t.Errorf("event says %q", note)
		}
		c.report(t, "status", "node-b", convergedReport(7, "Converged", 1, 2, 3))
		c.waitForCondition(t, "status", v1alpha1.ConditionConnectionTableFull, metav1.ConditionFalse, v1alpha1.ReasonConnectionsTracked)
		c.waitForEvent(t, "status", v1alpha1.ReasonConnectionsTracked)
	})
	t.Run("host lost", func(t *testing.T) {
		c.report(t, "status", "node-a", convergedReport(8, "Converged as DEFAULT", 1, 2))
		c.report(t, "status", "node-b", convergedReport(8, "Converged", 1, 2))
		c.waitForCondition(t, "status", v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonHostsMissing)
		c.waitForCondition(t, "status", v1alpha1.ConditionConverged, metav1.ConditionTrue, v1alpha1.ReasonConverged)
		c.waitForEvent(t, "status", "MemberLost")
		if got := c.getCluster(t, "status").Status.Columns.Hosts; got != "2/3" {
			t.Errorf("column HOSTS is %s", got)
		}
		// Long before its lease runs out, the host's own object says so too.
		c.waitForState(t, "status.node-c", v1alpha1.HostUnknown, "Unknown", v1alpha1.ReasonMemberLost)
		if got := c.getCluster(t, "status").Status.Hosts[2]; got.Membership != v1alpha1.MembershipNotMember || !strings.Contains(got.Message, "its peers {1,2} dropped it") {
			t.Errorf("the cluster says of the lost host: %+v", got)
		}
		// An agent that is alive takes its fields back, once and for all, although its peers still say otherwise.
		c.report(t, "status", "node-c", convergedReport(7, "Converged", 1, 2, 3))
		kubetest.Consistently(t, 3*time.Second, func() error {
			host := hostNamed("status.node-c")
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); err != nil {
				return err
			}
			if host.Status.State != v1alpha1.HostConverged {
				return fmt.Errorf("the manager fights the agent: %s", host.Status.State)
			}
			return nil
		})
	})
	t.Run("config not in force", func(t *testing.T) {
		c.update(t, "status", func(lbc *v1alpha1.LoadBalancingCluster) {
			lbc.Spec.VirtualIPs = append(lbc.Spec.VirtualIPs, "192.0.2.11")
		})
		c.waitForCondition(t, "status", v1alpha1.ConditionConverged, metav1.ConditionFalse, v1alpha1.ReasonConfigPending)
	})
}

// waitForState waits for a host's state, the first word of its column, and the reason of its conditions.
func (c *cluster) waitForState(t *testing.T, name string, state v1alpha1.HostState, column, reason string) {
	t.Helper()
	kubetest.Eventually(t, func() error {
		host := hostNamed(name)
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(host), host); err != nil {
			return err
		}
		s := &host.Status
		if s.State != state || s.Columns.State != column || s.Columns.Buckets != "-" || s.Conditions[0].Reason != reason {
			return fmt.Errorf("%s is %s, %+v, %+v", name, s.State, s.Columns, s.Conditions)
		}
		return nil
	})
}

func (c *cluster) checkColumns(t *testing.T) {
	t.Helper()
	out, err := server.Kubectl(t, "get", "lbc", "status")
	if err != nil {
		t.Fatal(err)
	}
	rows := table(out)
	want := [][]string{
		{"NAME", "VIP", "CONVERGED", "HOSTS", "DEFAULT", "STALLED", "AGE"},
		{"status", "192.0.2.10", "True", "3/3", "node-a", "node-c", rows[1][len(rows[1])-1]},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("kubectl get lbc (-want +got):\n%s", diff)
	}

	if out, err = server.Kubectl(t, "get", "lbh", "--no-headers=false"); err != nil {
		t.Fatal(err)
	}
	rows = table(out)
	for i := range rows {
		// The age is what it is, and a state of several words is several cells.
		if i > 0 {
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	want = [][]string{
		{"NAME", "ID", "STATE", "MAINTENANCE", "MEMBERS", "BUCKETS", "STALLED", "AGE"},
		{"status.node-a", "1", "Converged", "as", "DEFAULT", "1,2,3", "20", "False"},
		{"status.node-b", "2", "Converged", "1,2,3", "20", "False"},
		{"status.node-c", "3", "Converged", "1,2,3", "20", "EgressQueueStalled"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("kubectl get lbh (-want +got):\n%s", diff)
	}

	if out, err = server.Kubectl(t, "get", "lbc,lbh", "-o", "wide"); err != nil {
		t.Fatal(err)
	}
	for _, header := range []string{"MODE", "EPOCH", "CAUSE", "READY", "HOOK", "INTERFACE", "NODE", "RENEWED"} {
		if !slices.ContainsFunc(table(out), func(row []string) bool { return slices.Contains(row, header) }) {
			t.Errorf("kubectl get -o wide has no column %s:\n%s", header, out)
		}
	}
}

// A host whose agent is silent is shown as Unknown once its lease is over, and as what it says when it speaks again.
func TestStatusOfSilentHost(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "silent", nil)
	c.waitForHosts(t, "silent", "node-a:1", "node-b:2")
	c.report(t, "silent", "node-a", convergedReport(7, "Converged as DEFAULT", 1, 2))
	c.report(t, "silent", "node-b", convergedReport(7, "Converged", 1, 2))
	c.waitForCondition(t, "silent", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
	short := convergedReport(7, "Converged", 1, 2)
	short["leaseSeconds"] = int64(2)
	c.report(t, "silent", "node-b", short)

	host := &v1alpha1.LoadBalancingHost{}
	get := func() error { return c.Get(t.Context(), client.ObjectKey{Name: "silent.node-b"}, host) }
	kubetest.Eventually(t, func() error {
		if err := get(); err != nil {
			return err
		}
		if host.Status.State != v1alpha1.HostUnknown || host.Status.Columns.State != "Unknown" || host.Status.Conditions[0].Status != metav1.ConditionUnknown {
			return fmt.Errorf("host still says %s: %+v", host.Status.State, host.Status.Conditions)
		}
		return nil
	})
	// Its peer lists it, so it is a member that cannot reach the API server.
	kubetest.Eventually(t, func() error {
		h := c.getCluster(t, "silent").Status.Hosts[1]
		if h.State != v1alpha1.HostUnknown || h.Membership != v1alpha1.MembershipMember || !strings.Contains(h.Message, "not the API server") {
			return fmt.Errorf("cluster says of node-b: %+v", h)
		}
		return nil
	})

	c.report(t, "silent", "node-b", convergedReport(7, "Converged", 1, 2))
	kubetest.Eventually(t, func() error {
		if err := get(); err != nil {
			return err
		}
		if host.Status.State != v1alpha1.HostConverged || host.Status.Columns.State != "Converged" {
			return fmt.Errorf("host says %s", host.Status.State)
		}
		return nil
	})
	kubetest.Eventually(t, func() error {
		if h := c.getCluster(t, "silent").Status.Hosts[1]; h.State != v1alpha1.HostConverged || h.Message != "" {
			return fmt.Errorf("cluster says of node-b: %+v", h)
		}
		return nil
	})
}

func TestStatusOfTwoClustersOnOneVIP(t *testing.T) {
	c := start(t, 0)
	c.lbc(t, "first", nil)
	c.waitForCondition(t, "first", v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent)
	second := c.lbc(t, "second", func(s *v1alpha1.LoadBalancingClusterSpec) { s.VirtualIPs = []string{"192.0.2.11", "192.0.2.10"} })
	condition := c.waitForCondition(t, "second", v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, v1alpha1.ReasonVirtualIPConflict)
	if !strings.Contains(condition.Message, "first") || !strings.Contains(condition.Message, "192.0.2.10") {
		t.Errorf("condition of second says %q", condition.Message)
	}
	c.waitForCondition(t, "first", v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent) // it is not disturbed
	if err := c.Delete(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	c.waitForCondition(t, "first", v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent)
}

// In steady state a renewed report must not cost a write of the cluster's status. The last writes of the start may still be
// under way when the cluster is Ready, so that one round of renewals without a write is what counts.
func TestRenewalsDoNotWriteTheCluster(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.lbc(t, "steady", nil)
	c.waitForHosts(t, "steady", "node-a:1")
	kubetest.Eventually(t, func() error {
		before := c.getCluster(t, "steady")
		for range 5 {
			c.report(t, "steady", "node-a", convergedReport(7, "Converged as DEFAULT", 1))
		}
		time.Sleep(500 * time.Millisecond)
		after := c.getCluster(t, "steady")
		if after.ResourceVersion == before.ResourceVersion {
			return nil
		}
		return fmt.Errorf("five renewals wrote the cluster; status -before +after:\n%s", cmp.Diff(before.Status, after.Status))
	})
	c.waitForCondition(t, "steady", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
}

func tableFull(report map[string]any, message string) map[string]any {
	report["conditions"] = []any{map[string]any{
		"type": v1alpha1.ConditionConnectionTableFull, "status": "True", "reason": v1alpha1.ReasonConnectionTableFull,
		"message": message, "lastTransitionTime": metav1.Now().UTC().Format(time.RFC3339),
	}}
	return report
}

// A host that flaps makes a bounded number of Events, which count, and not one each time: NT filled its event log with
// duplicates (Microsoft KB Q247719).
func TestQ247719FlappingHost(t *testing.T) {
	c := start(t, 0)
	c.node(t, "node-a")
	c.node(t, "node-b")
	c.lbc(t, "flapping", nil)
	c.waitForHosts(t, "flapping", "node-a:1", "node-b:2")
	hosts := func(members string) {
		t.Helper()
		kubetest.Eventually(t, func() error {
			if got := c.getCluster(t, "flapping").Status.Columns.Hosts; got != members {
				return fmt.Errorf("hosts are %s, want %s", got, members)
			}
			return nil
		})
	}
	const flaps = 25
	for i := range int64(flaps) {
		c.report(t, "flapping", "node-b", convergedReport(2*i+1, "Converged", 1, 2))
		c.report(t, "flapping", "node-a", convergedReport(2*i+1, "Converged as DEFAULT", 1, 2))
		hosts("2/2")
		c.report(t, "flapping", "node-a", convergedReport(2*i+2, "Converged as DEFAULT", 1))
		hosts("1/2")
	}
	total := 0
	for _, reason := range []string{"MemberJoined", "MemberLost", "Converged", "Converging", "ViewsDiffer"} {
		events := c.events(t, "flapping", reason)
		total += len(events)
		// Ten of their own for each of two hosts, and one that counts the others.
		if len(events) > 22 || reason == "MemberLost" && len(events) > 11 {
			t.Errorf("%d Events %s of %d flaps", len(events), reason, flaps)
		}
	}
	if total == 0 {
		t.Error("no Event tells of a host that flaps")
	}
	kubetest.Eventually(t, func() error {
		for _, e := range c.events(t, "flapping", "MemberLost") {
			if e.Series != nil && e.Series.Count > 1 {
				return nil
			}
		}
		return errors.New("the Event of the lost host does not count")
	})
	t.Logf("%d Event objects of %d flaps", total, flaps)
}
