// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// notice is an Event to be.
type notice struct{ reason, note string }

// ruleNotices are about port rules that a host is to enable, disable or drain (events 23, 24, 39 and 41 to 43 of
// WLBS): one for all rules where they all change to the same state.
func ruleNotices(cluster *v1alpha1.LoadBalancingCluster, before, after *v1alpha1.LoadBalancingHostSpec) []notice {
	changed := map[v1alpha1.RuleState][]string{}
	rules := cluster.Spec.EffectivePortRules()
	for i := range rules {
		name := rules[i].Name
		if is := after.Rule(name).State; is != before.Rule(name).State {
			changed[is] = append(changed[is], name)
		}
	}
	var out []notice
	for _, state := range []struct {
		state         v1alpha1.RuleState
		reason, words string
	}{
		{v1alpha1.RuleStateEnabled, "RuleEnabled", "starts handling traffic"},
		{v1alpha1.RuleStateDisabled, "RuleDisabled", "stops handling all traffic"},
		{v1alpha1.RuleStateDrained, "RuleDrained", "stops handling new traffic"},
	} {
		names := changed[state.state]
		if len(names) == len(rules) && len(names) > 1 {
			names = []string{"all port rules"}
		}
		for _, name := range slices.Sorted(slices.Values(names)) {
			what := "port rule " + name
			if name == "all port rules" {
				what = name
			}
			out = append(out, notice{state.reason,
				fmt.Sprintf("host %d (%s) %s for %s", after.HostID, after.NodeName, state.words, what)})
		}
	}
	return out
}

// noteRules makes Events of what changes in the rules of a host.
func (r *Reconciler) noteRules(cluster *v1alpha1.LoadBalancingCluster, current, desired *v1alpha1.LoadBalancingHost) {
	if current == nil {
		return
	}
	for _, n := range ruleNotices(cluster, &current.Spec, &desired.Spec) {
		r.Recorder.Eventf(cluster, current, corev1.EventTypeNormal, n.reason, "ControlRule", "%s", n.note)
	}
}
