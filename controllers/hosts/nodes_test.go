// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestNodeSelector(t *testing.T) {
	taint := func(key string, effect corev1.TaintEffect) corev1.Taint {
		return corev1.Taint{Key: key, Effect: effect}
	}
	dns := &metav1.LabelSelector{MatchLabels: map[string]string{"dns": "true"}}
	tolerant := []corev1.Toleration{{Key: "dedicated", Operator: corev1.TolerationOpExists}}
	for _, tc := range []struct {
		name        string
		selector    *metav1.LabelSelector
		tolerations []corev1.Toleration
		labels      map[string]string
		taints      []corev1.Taint
		newHost     bool
		oldHost     bool
	}{
		{name: "no selector", newHost: true, oldHost: true},
		{name: "label matches", selector: dns, labels: map[string]string{"dns": "true"}, newHost: true, oldHost: true},
		{name: "label differs", selector: dns, labels: map[string]string{"dns": "false"}},
		{name: "control plane", taints: []corev1.Taint{taint("node-role.kubernetes.io/control-plane", corev1.TaintEffectNoSchedule)}, oldHost: true},
		{name: "tolerated", tolerations: tolerant, taints: []corev1.Taint{taint("dedicated", corev1.TaintEffectNoSchedule), taint("dedicated", corev1.TaintEffectNoExecute)}, newHost: true, oldHost: true},
		{name: "one of two tolerated", tolerations: tolerant, taints: []corev1.Taint{taint("dedicated", corev1.TaintEffectNoSchedule), taint("gpu", corev1.TaintEffectNoExecute)}},
		{name: "NoExecute removes", taints: []corev1.Taint{taint("gpu", corev1.TaintEffectNoExecute)}},
		{name: "PreferNoSchedule is ignored", taints: []corev1.Taint{taint("gpu", corev1.TaintEffectPreferNoSchedule)}, newHost: true, oldHost: true},
		{name: "cordoned", taints: []corev1.Taint{taint(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)}, newHost: true, oldHost: true},
		{name: "not ready", taints: []corev1.Taint{taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute), taint(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule)}, newHost: true, oldHost: true},
		{name: "unreachable", taints: []corev1.Taint{taint(corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute)}, newHost: true, oldHost: true},
		{name: "out of service", taints: []corev1.Taint{taint(corev1.TaintNodeOutOfService, corev1.TaintEffectNoExecute)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			selector, err := newNodeSelector(&v1alpha1.LoadBalancingClusterSpec{NodeSelector: tc.selector, Tolerations: tc.tolerations})
			if err != nil {
				t.Fatal(err)
			}
			node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: tc.labels}, Spec: corev1.NodeSpec{Taints: tc.taints}}
			if got := selector.matches(node, false); got != tc.newHost {
				t.Errorf("becomes a host: %t, want %t", got, tc.newHost)
			}
			if got := selector.matches(node, true); got != tc.oldHost {
				t.Errorf("remains a host: %t, want %t", got, tc.oldHost)
			}
		})
	}
}

func TestNodeSelectorInvalid(t *testing.T) {
	_, err := newNodeSelector(&v1alpha1.LoadBalancingClusterSpec{NodeSelector: &metav1.LabelSelector{
		MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "dns", Operator: "Is"}},
	}})
	if err == nil {
		t.Error("selector with unknown operator accepted")
	}
}
