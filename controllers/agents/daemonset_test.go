// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func defaults() *Settings {
	return &Settings{Image: "agent:test", Resources: DefaultResources(), Tolerations: DefaultTolerations()}
}

// The agent touches the node's network, so what it may do is spelled out here once more: a change must be meant.
func TestAgentPrivileges(t *testing.T) {
	pod := daemonSet("system", defaults()).Spec.Template.Spec
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
	if *security.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *security.AppArmorProfile.Type != corev1.AppArmorProfileTypeUnconfined {
		t.Errorf("profiles: %+v, %+v", security.SeccompProfile, security.AppArmorProfile)
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

func TestAgentsAreUpdatedOneByOne(t *testing.T) {
	strategy := daemonSet("system", defaults()).Spec.UpdateStrategy
	if *strategy.Type != appsv1.RollingUpdateDaemonSetStrategyType || strategy.RollingUpdate.MaxUnavailable.IntValue() != 1 {
		t.Errorf("update strategy: %+v", strategy)
	}
}

// A limit would end the agent of all clusters of a node when one more cluster comes, and throttling would delay heartbeats.
func TestAgentHasNoLimits(t *testing.T) {
	resources := daemonSet("system", defaults()).Spec.Template.Spec.Containers[0].Resources
	if resources.Limits != nil || resources.Requests.Memory().IsZero() || resources.Requests.Cpu().IsZero() {
		t.Errorf("resources: %+v", resources)
	}
}

func TestAgentSettings(t *testing.T) {
	s := defaults()
	s.Verbose, s.NodeSelector = true, map[string]string{"edge": "true"}
	s.Tolerations = []corev1.Toleration{{Key: "edge", Effect: corev1.TaintEffectNoSchedule}}
	s.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
	pod := daemonSet("system", s).Spec.Template.Spec
	if pod.NodeSelector["edge"] != "true" || pod.NodeSelector[corev1.LabelOSStable] != "linux" {
		t.Errorf("node selector: %v", pod.NodeSelector)
	}
	if len(pod.Tolerations) != 1 || *pod.Tolerations[0].Key != "edge" || pod.Tolerations[0].Operator != nil || pod.Tolerations[0].Value != nil {
		t.Errorf("tolerations: %+v", pod.Tolerations)
	}
	if !slices.Contains(pod.Containers[0].Args, "--verbose") || pod.Containers[0].Resources.Limits.Memory().String() != "1Gi" {
		t.Errorf("container: %+v", pod.Containers[0])
	}
	before, err := revisionOf(daemonSet("system", defaults()))
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := revisionOf(daemonSet("system", defaults())); again != before {
		t.Error("equal settings have two revisions")
	}
	if after, _ := revisionOf(daemonSet("system", s)); after == before {
		t.Error("other settings have the same revision")
	}
}
