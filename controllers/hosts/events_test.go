// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestRuleNotices(t *testing.T) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	cluster.Spec.PortRules = []v1alpha1.PortRule{{Name: "http"}, {Name: "dns"}}
	spec := func(http, dns v1alpha1.RuleState) *v1alpha1.LoadBalancingHostSpec {
		return &v1alpha1.LoadBalancingHostSpec{NodeName: "node-a", HostID: 1, Rules: []v1alpha1.HostRule{{Name: "http", State: http}, {Name: "dns", State: dns}}}
	}
	const enabled, disabled, drained = v1alpha1.RuleStateEnabled, v1alpha1.RuleStateDisabled, v1alpha1.RuleStateDrained
	for _, tc := range []struct {
		name          string
		before, after *v1alpha1.LoadBalancingHostSpec
		want          []string
	}{
		{"nothing", spec("", enabled), spec(enabled, ""), nil},
		{"24", spec("", ""), spec(disabled, ""), []string{"RuleDisabled host 1 (node-a) stops handling all traffic for port rule http"}},
		{"39 and 23", spec("", disabled), spec(drained, enabled), []string{
			"RuleEnabled host 1 (node-a) starts handling traffic for port rule dns",
			"RuleDrained host 1 (node-a) stops handling new traffic for port rule http",
		}},
		{"41", spec("", ""), spec(drained, drained), []string{"RuleDrained host 1 (node-a) stops handling new traffic for all port rules"}},
		{"42", spec(disabled, drained), spec("", ""), []string{"RuleEnabled host 1 (node-a) starts handling traffic for all port rules"}},
		{"43", spec(drained, ""), spec(disabled, disabled), []string{"RuleDisabled host 1 (node-a) stops handling all traffic for all port rules"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, n := range ruleNotices(cluster, tc.before, tc.after) {
				got = append(got, n.reason+" "+n.note)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
