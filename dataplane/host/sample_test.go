// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

// A host that is stopped answers no ARP request; that is no stall. One that serves and does not answer is stalled.
func TestOnlyAServingHostIsAskedForAddresses(t *testing.T) {
	for name, test := range map[string]struct {
		lease time.Duration
		want  v1alpha1.StallReason
	}{
		"stopped": {0, ""},
		"serving": {time.Hour, v1alpha1.StallAddressResolution},
	} {
		t.Run(name, func(t *testing.T) {
			detector := stall.NewDetector(stall.Settings{Window: 2 * time.Second, MinPackets: 4})
			out := &convergence.Output{View: &convergence.View{}, Decision: convergence.Decision{LeaseUntil: test.lease}}
			var verdict stall.Verdict
			for i := range 40 {
				counters := filter.Counters{ResolutionAsked: uint64(i) * 10}
				verdict, _ = detector.Observe(stallSample(time.Duration(i)*SampleInterval, &counters, nil, out))
			}
			if verdict.Reason != test.want {
				t.Errorf("verdict %q, want %q", verdict.Reason, test.want)
			}
		})
	}
}
