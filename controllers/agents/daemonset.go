// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

const (
	agentContainer = "agent"
	agentProgram   = "/wlbs-agent"

	// The agent's places on the node.
	bpfPath   = "/sys/fs/bpf"
	statePath = "/var/lib/kube-wlbs"
	runPath   = "/run/kube-wlbs"

	// endSeconds is what an agent may take to end: it announces a hold and saves the state of its hosts, or its hosts
	// leave their clusters.
	endSeconds = 30
)

// revisionAnnotation is on the DaemonSet and says what it was last applied from.
const revisionAnnotation = "wlbs.dev/applied-revision"

// revisionOf identifies what is wanted of a DaemonSet.
func revisionOf(daemonSet *appsv1ac.DaemonSetApplyConfiguration) (string, error) {
	content, err := json.Marshal(daemonSet)
	if err != nil {
		return "", fmt.Errorf("revision of DaemonSet %s: %w", Name, err)
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8]), nil
}

// agentCapabilities are all that an agent has: NET_ADMIN for addresses, MAC filters and the attachment of programs,
// NET_RAW for heartbeats and announcements over AF_PACKET, BPF and PERFMON to load programs that read packets through
// BTF, SYS_NICE so that heartbeats are in time on a busy node (Microsoft KB829701).
func agentCapabilities() []corev1.Capability {
	return []corev1.Capability{"NET_ADMIN", "NET_RAW", "BPF", "PERFMON", "SYS_NICE"}
}

func agentSelector() map[string]string { return map[string]string{shared.NameLabel: "wlbs-agent"} }

func agentLabels() map[string]string {
	return map[string]string{shared.NameLabel: "wlbs-agent", shared.ManagedByLabel: shared.ManagedBy}
}

// daemonSet runs one agent on each node. An update goes from node to node: while an agent is replaced its peers wait
// for it, so only one may be away at a time.
func daemonSet(namespace string, s *Settings) *appsv1ac.DaemonSetApplyConfiguration {
	return appsv1ac.DaemonSet(Name, namespace).
		WithLabels(agentLabels()).
		WithSpec(appsv1ac.DaemonSetSpec().
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(agentSelector())).
			WithUpdateStrategy(appsv1ac.DaemonSetUpdateStrategy().
				WithType(appsv1.RollingUpdateDaemonSetStrategyType).
				WithRollingUpdate(appsv1ac.RollingUpdateDaemonSet().WithMaxUnavailable(intstr.FromInt32(1)))).
			WithTemplate(corev1ac.PodTemplateSpec().
				WithLabels(agentLabels()).
				WithAnnotations(map[string]string{"kubectl.kubernetes.io/default-container": agentContainer}).
				WithSpec(podSpec(s))))
}

func podSpec(s *Settings) *corev1ac.PodSpecApplyConfiguration {
	return corev1ac.PodSpec().
		WithServiceAccountName(Name).
		WithHostNetwork(true).
		WithDNSPolicy(corev1.DNSClusterFirstWithHostNet).
		WithPriorityClassName("system-node-critical").
		WithTerminationGracePeriodSeconds(endSeconds).
		WithNodeSelector(s.Selector()).
		WithTolerations(tolerations(s.Tolerations)...).
		WithContainers(container(s)).
		WithVolumes(
			hostPath("bpf", bpfPath, corev1.HostPathDirectory),
			hostPath("state", statePath, corev1.HostPathDirectoryOrCreate),
			hostPath("run", runPath, corev1.HostPathDirectoryOrCreate),
		)
}

func container(s *Settings) *corev1ac.ContainerApplyConfiguration {
	args := []string{"run", "--node", "$(NODE_NAME)"}
	if s.Verbose {
		args = append(args, "--verbose")
	}
	return corev1ac.Container().
		WithName(agentContainer).
		WithImage(s.Image).
		WithImagePullPolicy(corev1.PullIfNotPresent).
		WithCommand(agentProgram).
		WithArgs(args...).
		WithEnv(
			fromField("NODE_NAME", "spec.nodeName"),
			// With these the agent finds out, when it is asked to end, whether another follows.
			fromField("POD_NAMESPACE", "metadata.namespace"),
			fromField("POD_NAME", "metadata.name"),
			fromField("POD_UID", "metadata.uid"),
			corev1ac.EnvVar().WithName("DAEMONSET_NAME").WithValue(Name),
		).
		WithResources(resources(&s.Resources)).
		WithSecurityContext(securityContext()).
		// Ready when all hosts on the node are up, so that an update does not go on to the next node before.
		// There is no liveness probe: the filters' leases end by themselves when an agent hangs, and its peers take over.
		WithReadinessProbe(corev1ac.Probe().
			WithExec(corev1ac.ExecAction().WithCommand(agentProgram, "ready")).
			WithPeriodSeconds(5).WithTimeoutSeconds(5).WithFailureThreshold(3)).
		WithVolumeMounts(
			corev1ac.VolumeMount().WithName("bpf").WithMountPath(bpfPath),
			corev1ac.VolumeMount().WithName("state").WithMountPath(statePath),
			corev1ac.VolumeMount().WithName("run").WithMountPath(runPath),
		)
}

func securityContext() *corev1ac.SecurityContextApplyConfiguration {
	return corev1ac.SecurityContext().
		WithPrivileged(false).
		WithAllowPrivilegeEscalation(false).
		WithReadOnlyRootFilesystem(true).
		WithRunAsUser(0).
		WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault)).
		// The default profile of containerd and CRI-O denies writes below /sys, and with them pins below /sys/fs/bpf.
		WithAppArmorProfile(corev1ac.AppArmorProfile().WithType(corev1.AppArmorProfileTypeUnconfined)).
		WithCapabilities(corev1ac.Capabilities().WithDrop("ALL").WithAdd(agentCapabilities()...))
}

func resources(r *corev1.ResourceRequirements) *corev1ac.ResourceRequirementsApplyConfiguration {
	config := corev1ac.ResourceRequirements()
	if len(r.Requests) > 0 {
		config.WithRequests(r.Requests)
	}
	if len(r.Limits) > 0 {
		config.WithLimits(r.Limits)
	}
	return config
}

func tolerations(list []corev1.Toleration) []*corev1ac.TolerationApplyConfiguration {
	var configs []*corev1ac.TolerationApplyConfiguration
	for i := range list {
		t := list[i]
		configs = append(configs, &corev1ac.TolerationApplyConfiguration{
			Key: nonZero(t.Key), Operator: nonZero(t.Operator), Value: nonZero(t.Value), Effect: nonZero(t.Effect),
			TolerationSeconds: t.TolerationSeconds,
		})
	}
	return configs
}

// nonZero is nil for a zero value, which is to be left out.
func nonZero[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

func fromField(name, path string) *corev1ac.EnvVarApplyConfiguration {
	return corev1ac.EnvVar().WithName(name).WithValueFrom(corev1ac.EnvVarSource().
		WithFieldRef(corev1ac.ObjectFieldSelector().WithFieldPath(path)))
}

func hostPath(name, path string, pathType corev1.HostPathType) *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(name).
		WithHostPath(corev1ac.HostPathVolumeSource().WithPath(path).WithType(pathType))
}
