// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Hosts of different versions share these numbers.
func TestGoldenCodes(t *testing.T) {
	for reason, want := range map[v1alpha1.StallReason]uint8{
		"":                                0,
		v1alpha1.StallIngressQueue:        1,
		v1alpha1.StallServiceNotAnswering: 2,
		v1alpha1.StallEgressQueue:         3,
		v1alpha1.StallRepliesLost:         4,
		v1alpha1.StallAddressResolution:   5,
		v1alpha1.StallHeartbeatsUnheard:   6,
	} {
		if got := Code(reason); got != want {
			t.Errorf("%q: %d, want %d", reason, got, want)
		}
	}
}
