// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/kernel"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

// checkKernel returns an error that names the lowest release if the node's kernel is older. What would go wrong else is
// the verifier's or netlink's to say, in words that help nobody.
func checkKernel() error {
	release, err := kernel.Running()
	if err != nil {
		return err
	}
	if err := kernel.Check(release); err != nil {
		return status.Because(v1alpha1.ReasonKernelTooOld, err)
	}
	return nil
}
