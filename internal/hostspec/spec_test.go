// SPDX-License-Identifier: Apache-2.0

package hostspec

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestOf(t *testing.T) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	cluster.Name = "web"
	rules := []v1alpha1.HostRule{{Name: "http", LoadWeight: new(int32(30))}}
	cluster.Spec.DrainTimeoutSeconds = new(int32(60))
	cluster.Spec.Hosts = []v1alpha1.HostConfig{
		{NodeName: "node-a", DesiredState: v1alpha1.DesiredStateDrained, DrainTimeoutSeconds: new(int32(5)), Rules: rules},
	}
	assigned := []string{"10.77.0.100"}
	for _, want := range []v1alpha1.LoadBalancingHostSpec{
		{
			ClusterName: "web", NodeName: "node-a", HostID: 7, VirtualIPs: assigned,
			DesiredState: v1alpha1.DesiredStateDrained, DrainTimeoutSeconds: new(int32(5)), Rules: rules,
		},
		{
			ClusterName: "web", NodeName: "node-b", HostID: 7, VirtualIPs: assigned,
			DesiredState: v1alpha1.DesiredStateStarted, DrainTimeoutSeconds: new(int32(60)),
		},
	} {
		if diff := cmp.Diff(want, Of(cluster, want.NodeName, 7, assigned)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.NodeName, diff)
		}
	}
}
