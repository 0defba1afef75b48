// SPDX-License-Identifier: Apache-2.0

package words

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Microsoft KB812870 shows both forms; KB Q228942 shows what must never be printed: an empty list.
func TestWriteQueryUsesPublishedWords(t *testing.T) {
	host := &v1alpha1.LoadBalancingHost{
		Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", HostID: 2},
		Status: v1alpha1.LoadBalancingHostStatus{
			State: v1alpha1.HostConverging, Members: []int32{1, 2}, DefaultHostID: new(int32(1)), Convergences: new(int64(1)),
		},
	}
	want := "Host 2 has entered a converging state 1 time(s) since joining the cluster\n" +
		"  and is still in a state of convergence.\n" +
		"Host 2 converging with the following host(s) as part of the cluster:\n1,2\n"
	var b strings.Builder
	if err := WriteQuery(&b, host, nil); err != nil || !strings.Contains(b.String(), want) {
		t.Errorf("WriteQuery() = %v, %q, want to contain %q", err, b.String(), want)
	}

	host.Status.State, host.Status.Members, host.Status.DefaultHostID = v1alpha1.HostConverged, []int32{2}, new(int32(2))
	start := metav1.NewTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	host.Status.LastConvergence = &v1alpha1.ConvergenceRecord{StartedAt: &start, DurationMilliseconds: new(int64(3000))}
	want = "  and the last convergence completed at approximately: 2026-03-04 05:06:10\n" +
		"Host 2 converged as DEFAULT with the following host(s) as part of the cluster:\n2\n"
	b.Reset()
	if err := WriteQuery(&b, host, nil); err != nil || !strings.Contains(b.String(), want) {
		t.Errorf("WriteQuery() = %v, %q, want to contain %q", err, b.String(), want)
	}
}

// Microsoft KB Q228942: whatever its state, and even when it never reported, a host lists at least itself.
func TestQ228942bHostListsItself(t *testing.T) {
	for _, state := range []v1alpha1.HostState{
		"", v1alpha1.HostConverging, v1alpha1.HostConverged, v1alpha1.HostDraining, v1alpha1.HostStopped,
		v1alpha1.HostSuspended, v1alpha1.HostExcluded, v1alpha1.HostDisconnected, v1alpha1.HostUnknown,
	} {
		for name, test := range map[string]struct {
			members []int32
			want    string
		}{
			"none":   {nil, "3"},
			"others": {[]int32{1, 7}, "1,3,7"},
			"all":    {[]int32{1, 3}, "1,3"},
		} {
			t.Run(string(state)+" "+name, func(t *testing.T) {
				host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{HostID: 3}}
				host.Status.State, host.Status.Members = state, test.members
				var b strings.Builder
				if err := WriteState(&b, host); err != nil {
					t.Fatal(err)
				}
				if want := ":\n" + test.want + "\n"; !strings.Contains(b.String(), want) {
					t.Errorf("%q does not list %s", b.String(), test.want)
				}
			})
		}
	}
}

func TestWriteState(t *testing.T) {
	host := func(edit func(*v1alpha1.LoadBalancingHost)) *v1alpha1.LoadBalancingHost {
		h := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{HostID: 2}}
		h.Status.State, h.Status.Members, h.Status.Convergences = v1alpha1.HostConverged, []int32{1, 2}, new(int64(0))
		edit(h)
		return h
	}
	for name, test := range map[string]struct {
		host *v1alpha1.LoadBalancingHost
		want string
	}{
		"draining": {
			host(func(h *v1alpha1.LoadBalancingHost) {
				h.Status.State, h.Status.Traffic.Connections = v1alpha1.HostDraining, new(int64(12))
			}),
			"Host 2 draining with the following host(s) as part of the cluster:\n1,2\n  12 connection(s) left\n",
		},
		"drained": {
			host(func(h *v1alpha1.LoadBalancingHost) {
				h.Spec.DesiredState, h.Status.State = v1alpha1.DesiredStateDrained, v1alpha1.HostStopped
			}),
			"Host 2 is drained and stopped, and serves nothing; it lists the following host(s):\n1,2\n",
		},
		"a stopped host tells no convergence": {
			host(func(h *v1alpha1.LoadBalancingHost) {
				h.Status.State, h.Status.Convergences = v1alpha1.HostStopped, new(int64(5))
			}),
			"Host 2 is stopped and serves nothing; it lists the following host(s):\n1,2\n",
		},
		"stalled": {
			host(func(h *v1alpha1.LoadBalancingHost) {
				h.Status.Stall = &v1alpha1.HostStall{Reason: v1alpha1.StallEgressQueue, Queue: "class 1:10",
					Message: "73 packets wait"}
			}),
			"Host 2 converged with the following host(s) as part of the cluster:\n1,2\n" +
				"Host 2 is STALLED: EgressQueueStalled, class 1:10\n  73 packets wait\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			if err := WriteState(&b, test.host); err != nil || b.String() != test.want {
				t.Errorf("WriteState() = %v, %q, want %q", err, b.String(), test.want)
			}
		})
	}
}

func TestWriteDetailsTellsRulesThatAreOff(t *testing.T) {
	host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{HostID: 2,
		Rules: []v1alpha1.HostRule{{Name: "dns", State: v1alpha1.RuleStateDisabled}}}}
	host.Status.Buckets = []v1alpha1.RuleBuckets{{Rule: "http", Count: new(int32(20)), Map: "fffff"},
		{Rule: "dns", Count: new(int32(0)), Map: "00000"}}
	want := "Rule http                 20 buckets  fffff\nRule dns                   0 buckets  00000  Disabled\n"
	var b strings.Builder
	if err := WriteDetails(&b, host); err != nil || b.String() != want {
		t.Errorf("WriteDetails() = %v, %q, want %q", err, b.String(), want)
	}
}

func TestWriteStateSaysWhyAHostIsDrained(t *testing.T) {
	since := metav1.NewTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	for reason, want := range map[v1alpha1.MaintenanceReason]string{
		v1alpha1.MaintenanceNodeExcluded:    "NodeExcluded since 2026-03-04T05:06:07Z, until the label node.kubernetes.io/exclude-from-external-load-balancers is taken off node node-b",
		v1alpha1.MaintenanceNodeDeleted:     "NodeDeleted since 2026-03-04T05:06:07Z, which is deleted",
		v1alpha1.MaintenanceNodeNotSelected: "NodeNotSelected since 2026-03-04T05:06:07Z, which spec.nodeSelector",
	} {
		host := &v1alpha1.LoadBalancingHost{Spec: v1alpha1.LoadBalancingHostSpec{
			HostID: 2, NodeName: "node-b", DesiredState: v1alpha1.DesiredStateDrained,
			Maintenance: &v1alpha1.HostMaintenance{Reason: reason, Since: &since},
		}}
		host.Status.State = v1alpha1.HostDraining
		var b strings.Builder
		if err := WriteState(&b, host); err != nil || !strings.Contains(b.String(), "drained because of its node: "+want) {
			t.Errorf("WriteState() = %v, %q, want to contain %q", err, b.String(), want)
		}
	}
}
