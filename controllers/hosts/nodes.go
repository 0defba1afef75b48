// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// runsAgents reports whether agents run on a node, by the node selector of their pods. A node that does not say what
// its operating system is counts as one with Linux.
func runsAgents(node *corev1.Node, selector map[string]string) bool {
	for key, want := range selector {
		is, labelled := node.Labels[key]
		if is != want && (labelled || key != corev1.LabelOSStable) {
			return false
		}
	}
	return true
}

// nodeSelector decides which nodes are hosts of a cluster, by the rules of a DaemonSet.
type nodeSelector struct {
	labels      labels.Selector
	tolerations []corev1.Toleration
}

func newNodeSelector(spec *v1alpha1.LoadBalancingClusterSpec) (nodeSelector, error) {
	selector := labels.Everything()
	if spec.NodeSelector != nil {
		var err error
		if selector, err = metav1.LabelSelectorAsSelector(spec.NodeSelector); err != nil {
			return nodeSelector{},
				fmt.Errorf("spec.nodeSelector cannot be evaluated, and present hosts go on serving: correct it: %w", err)
		}
	}
	return nodeSelector{labels: selector, tolerations: append(daemonTolerations(), spec.Tolerations...)}, nil
}

// daemonTolerations are those that the DaemonSet controller adds to pods on the host network: a node in trouble
// is still a host, for its data path may be sound and its peers decide whether it is alive.
func daemonTolerations() []corev1.Toleration {
	tolerations := []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute},
	}
	for _, key := range []string{
		corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeDiskPressure, corev1.TaintNodeMemoryPressure,
		corev1.TaintNodePIDPressure, corev1.TaintNodeUnschedulable, corev1.TaintNodeNetworkUnavailable,
	} {
		tolerations = append(tolerations,
			corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule})
	}
	return tolerations
}

// matches reports whether a node is to be a host. A taint NoSchedule keeps a node from becoming one, not from remaining
// one.
func (s nodeSelector) matches(node *corev1.Node, isHost bool) bool {
	if !s.labels.Matches(labels.Set(node.Labels)) {
		return false
	}
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		excludes := taint.Effect == corev1.TaintEffectNoExecute || taint.Effect == corev1.TaintEffectNoSchedule && !isHost
		if excludes && !s.tolerates(taint) {
			return false
		}
	}
	return true
}

func (s nodeSelector) tolerates(taint *corev1.Taint) bool {
	for i := range s.tolerations {
		if s.tolerations[i].ToleratesTaint(logr.Discard(), taint, true) {
			return true
		}
	}
	return false
}

// notReadySince returns since when a node has not been ready.
func notReadySince(node *corev1.Node) (since time.Time, notReady bool) {
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.LastTransitionTime.Time, c.Status != corev1.ConditionTrue
		}
	}
	return node.CreationTimestamp.Time, true
}
