// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// codes are the reasons by their number in heartbeats, less one. It only grows: hosts of different versions share it.
func codes() []v1alpha1.StallReason {
	return []v1alpha1.StallReason{
		v1alpha1.StallIngressQueue, v1alpha1.StallServiceNotAnswering, v1alpha1.StallEgressQueue,
		v1alpha1.StallRepliesLost, v1alpha1.StallAddressResolution, v1alpha1.StallHeartbeatsUnheard,
	}
}

// Code is the number of a reason in heartbeats, 0 for none. See docs/design/wire.md.
func Code(reason v1alpha1.StallReason) uint8 { return uint8(slices.Index(codes(), reason) + 1) }
