// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func reportedAt(at time.Time, leaseSeconds int32) *v1alpha1.LoadBalancingHost {
	renew := metav1.NewMicroTime(at)
	return &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{UID: "1"},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: "web"},
		Status:     v1alpha1.LoadBalancingHostStatus{RenewTime: &renew, LeaseSeconds: &leaseSeconds},
	}
}

func TestLeases(t *testing.T) {
	type look struct {
		// at is the manager's clock and report the node's, both in seconds after testNow.
		at, report int
		want       time.Duration
	}
	for _, tc := range []struct {
		name  string
		looks []look
	}{
		{"young report seen first", []look{{at: 10, report: 0, want: 80 * time.Second}}},
		{"old report seen first", []look{{at: 200, report: 0, want: -110 * time.Second}}},
		{"no renewal", []look{{at: 0, report: 0, want: 90 * time.Second}, {at: 60, report: 0, want: 30 * time.Second}, {at: 90, report: 0, want: 0}}},
		{"renewal", []look{{at: 0, report: 0, want: 90 * time.Second}, {at: 60, report: 60, want: 90 * time.Second}}},
		{"clock of the node is an hour ahead and stays there", []look{{at: 0, report: 3600, want: 90 * time.Second}, {at: 91, report: 3600, want: -time.Second}}},
		{"clock of the node is an hour behind", []look{{at: 0, report: -3600, want: -3510 * time.Second}, {at: 30, report: -3570, want: 90 * time.Second}}},
		{"clock of the node is set back", []look{{at: 0, report: 0, want: 90 * time.Second}, {at: 30, report: -600, want: 90 * time.Second}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var l Leases
			for i, look := range tc.looks {
				host := reportedAt(testNow.Add(time.Duration(look.report)*time.Second), 90)
				got, ok := l.Left(host, testNow.Add(time.Duration(look.at)*time.Second))
				if !ok || got != look.want {
					t.Errorf("look %d: %s left, want %s", i, got, look.want)
				}
			}
		})
	}
}

func TestLeasesNeverReported(t *testing.T) {
	var l Leases
	if _, ok := l.Left(&v1alpha1.LoadBalancingHost{}, testNow); ok {
		t.Error("a host without renewTime counts as having reported")
	}
}

func TestLeasesForgetGoneHosts(t *testing.T) {
	var l Leases
	host := reportedAt(testNow, 90)
	l.Left(host, testNow)
	l.Retain("web", []v1alpha1.LoadBalancingHost{*host})
	if len(l.seen["web"]) != 1 {
		t.Error("forgot a host that is there")
	}
	l.Retain("web", []v1alpha1.LoadBalancingHost{{ObjectMeta: metav1.ObjectMeta{UID: "2"}}})
	if len(l.seen["web"]) != 0 {
		t.Error("remembers a host that is gone")
	}
	l.Retain("web", nil)
	if len(l.seen) != 0 {
		t.Error("remembers a cluster that is gone")
	}
}
