// SPDX-License-Identifier: Apache-2.0

package words

import (
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Maintenance says why a host is drained for its node's sake, and what ends that; "" if it is not.
func Maintenance(host *v1alpha1.LoadBalancingHost) string {
	m := host.Spec.Maintenance
	if m == nil {
		return ""
	}
	words := fmt.Sprintf("drained because of its node: %s", m.Reason)
	if m.Since != nil {
		words += " since " + m.Since.UTC().Format(time.RFC3339)
	}
	switch m.Reason {
	case v1alpha1.MaintenanceNodeExcluded:
		words += fmt.Sprintf(", until the label node.kubernetes.io/exclude-from-external-load-balancers is taken off node %s",
			host.Spec.NodeName)
	case v1alpha1.MaintenanceNodeDeleted:
		words += ", which is deleted or about to be"
	case v1alpha1.MaintenanceNodeNotSelected:
		words += ", which spec.nodeSelector and spec.tolerations of the cluster no longer select"
	}
	return words
}
