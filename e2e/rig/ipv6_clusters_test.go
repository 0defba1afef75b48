// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Two clusters without IPv4 on one wire, whose hosts hear each other's broadcasts and use the same IDs, do not mix. Their
// heartbeats have no address, but their extended ones do.
func TestTwoIPv6ClustersOnOneWire(t *testing.T) {
	needTool(t, "tshark")
	r := newRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		ipv6Only(c)
		c.Spec.Mode = v1alpha1.ModeUnicast
	})
	r.useAgent(t)
	other := r.Hosts[2]
	must(t, other.Misconfigure(func(c *v1alpha1.LoadBalancingCluster) {
		c.Name, c.Spec.VirtualIPs = "other", []string{VIP6.Next().String()}
		c.Spec.Hosts = []v1alpha1.HostConfig{{NodeName: other.Name, HostID: new(int32(1))}}
	}))
	c, err := r.StartCapture()
	must(t, err)
	must(t, r.StartAll())
	r.converged(t, r.Hosts[:2]...)
	must(t, poll(soon(t, waitLimit), func() error {
		is, err := other.Query(t.Context())
		if err == nil && (is.Status.State != v1alpha1.HostConverged || len(is.Status.Members) != 1) {
			err = fmt.Errorf("%s of the other cluster is %s with %v", other.Name, is.Status.State, is.Status.Members)
		}
		return err
	}))
	letPass(t, time.Second) // they go on hearing each other
	r.converged(t, r.Hosts[:2]...)
	for _, h := range r.Hosts {
		h.says(t, v1alpha1.ConditionConfigConsistent, metav1.ConditionTrue, v1alpha1.ReasonConsistent)
	}
	frames, err := c.Stop()
	must(t, err)
	r.identified(t, frames, r.Hosts[:2]...)
}
