// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// The agent touches the node's network, so what it may do is spelled out here once more: a change must be meant.
func TestAgentPrivileges(t *testing.T) {
	ds := agentDaemonSet(testCluster(), "system", "agent:test", []string{"node-b", "node-a"})
	pod := ds.Spec.Template.Spec
	if !*pod.HostNetwork || pod.HostPID != nil || pod.HostIPC != nil {
		t.Error("agents use the node's network and no other namespace of it")
	}
	security := pod.Containers[0].SecurityContext
	if *security.Privileged || *security.AllowPrivilegeEscalation || !*security.ReadOnlyRootFilesystem {
		t.Errorf("privileges: %+v", security)
	}
	if !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
		!slices.Equal(security.Capabilities.Add, []corev1.Capability{"NET_ADMIN", "NET_RAW", "BPF", "PERFMON", "SYS_NICE"}) {
		t.Errorf("capabilities: %+v", security.Capabilities)
	}
	var paths []string
	for _, v := range pod.Volumes {
		paths = append(paths, *v.HostPath.Path)
	}
	if !slices.Equal(paths, []string{"/sys/fs/bpf", "/var/lib/kube-wlbs", "/run/kube-wlbs"}) {
		t.Errorf("mounts: %v", paths)
	}
	if *pod.PriorityClassName != "system-node-critical" {
		t.Errorf("priority class %s", *pod.PriorityClassName)
	}
}

func TestAgentNodeAffinity(t *testing.T) {
	ds := agentDaemonSet(testCluster(), "system", "agent:test", []string{"node-b", "node-a"})
	var nodes []string
	for _, term := range ds.Spec.Template.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(term.MatchExpressions) != 0 || len(term.MatchFields) != 1 || *term.MatchFields[0].Key != "metadata.name" || len(term.MatchFields[0].Values) != 1 {
			t.Fatalf("term %+v", term)
		}
		nodes = append(nodes, term.MatchFields[0].Values...)
	}
	if !slices.Equal(nodes, []string{"node-a", "node-b"}) {
		t.Errorf("agents run on %v", nodes)
	}
}

func TestAgentMemoryGrowsWithConnections(t *testing.T) {
	small, large := testCluster(), testCluster()
	large.Spec.Dataplane.MaxConnections = new(int32(16777216))
	limit := func(c *v1alpha1.LoadBalancingCluster) int64 {
		limits := *agentDaemonSet(c, "system", "agent:test", []string{"a"}).Spec.Template.Spec.Containers[0].Resources.Limits
		return limits.Memory().Value()
	}
	if least := int64(16777216 * bytesPerConnection); limit(large) < least || limit(small) > limit(large)/4 {
		t.Errorf("limits %d and %d", limit(small), limit(large))
	}
}

func TestAgentRoleNamesNoOthers(t *testing.T) {
	for _, names := range [][]string{nil, {"web.node-a"}} {
		for _, rule := range agentRole(testCluster(), names).Rules {
			if len(rule.ResourceNames) == 0 {
				t.Errorf("with hosts %v a rule holds for all objects: %+v", names, rule)
			}
		}
	}
}

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testCluster() *v1alpha1.LoadBalancingCluster {
	return &v1alpha1.LoadBalancingCluster{ObjectMeta: metav1.ObjectMeta{Name: "web", Generation: 3}}
}
