// SPDX-License-Identifier: Apache-2.0

package top

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func reporting(uid string, at time.Duration, admitted int64) []v1alpha1.LoadBalancingHost {
	h := host("web", 1)
	h.UID = types.UID(uid)
	h.Status.RenewTime = &metav1.MicroTime{Time: noon.Add(at)}
	h.Status.Traffic.Admitted = &admitted
	return []v1alpha1.LoadBalancingHost{h}
}

func TestTracker(t *testing.T) {
	type step struct {
		uid      string
		at       time.Duration
		admitted int64
		// want is the rate of admitted packets, -1 for unknown.
		want float64
	}
	for name, steps := range map[string][]step{
		"unknown after one report": {{"1", 0, 100, -1}, {"1", 0, 100, -1}},
		"between the last two reports": {{"1", 0, 100, -1}, {"1", 10 * time.Second, 200, 10},
			{"1", 30 * time.Second, 600, 20}},
		"holds until the next report": {{"1", 0, 100, -1}, {"1", 10 * time.Second, 200, 10},
			{"1", 10 * time.Second, 200, 10}},
		"reports close to each other": {{"1", 0, 0, -1}, {"1", 200 * time.Millisecond, 1000, -1},
			{"1", 2 * time.Second, 1000, 500}, {"1", 3 * time.Second, 1000, 0}},
		"a filter that was loaded anew": {{"1", 0, 100, -1}, {"1", 10 * time.Second, 50, -1},
			{"1", 20 * time.Second, 150, 10}},
		"another host under the same name": {{"1", 0, 100, -1}, {"2", 10 * time.Second, 200, -1}},
		"a report that is older is no news": {{"1", 0, 100, -1}, {"1", 10 * time.Second, 200, 10},
			{"1", 5 * time.Second, 150, 10}},
	} {
		t.Run(name, func(t *testing.T) {
			var tracker Tracker
			for i, s := range steps {
				rate, known := tracker.Observe(reporting(s.uid, s.at, s.admitted))["web.node-a"]
				switch {
				case known != (s.want >= 0):
					t.Errorf("step %d: known is %v", i, known)
				case known && rate.Admitted != s.want:
					t.Errorf("step %d: %v packets/s, want %v", i, rate.Admitted, s.want)
				}
			}
		})
	}
}

func TestTrackerForgetsHostsThatAreGone(t *testing.T) {
	var tracker Tracker
	tracker.Observe(reporting("1", 0, 0))
	tracker.Observe(nil)
	if rates := tracker.Observe(reporting("1", 10*time.Second, 100)); len(rates) != 0 {
		t.Errorf("rates %v from before it was gone", rates)
	}
}
