// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// agentName is the name of a cluster's DaemonSet, ServiceAccount, ClusterRole and ClusterRoleBinding. The admission
// policy in config/agent knows agents by its prefix.
func agentName(cluster string) string { return "wlbs-agent-" + cluster }

const (
	agentContainer = "agent"
	agentProgram   = "/wlbs-agent"

	// The agent's places on the node; what is in them is named after the cluster.
	bpfPath   = "/sys/fs/bpf"
	statePath = "/var/lib/kube-wlbs"
	runPath   = "/run/kube-wlbs"
)

// agentCapabilities are all that an agent has: NET_ADMIN for addresses, MAC filters and the attachment of programs, NET_RAW
// for heartbeats and announcements over AF_PACKET, BPF and PERFMON to load programs that read packets through BTF, SYS_NICE
// so that heartbeats are in time on a busy node (Microsoft KB829701).
func agentCapabilities() []corev1.Capability {
	return []corev1.Capability{"NET_ADMIN", "NET_RAW", "BPF", "PERFMON", "SYS_NICE"}
}

func agentLabels(cluster string) map[string]string {
	return map[string]string{shared.NameLabel: "wlbs-agent", shared.ManagedByLabel: shared.ManagedBy, v1alpha1.ClusterLabel: cluster}
}

func agentSelector(cluster string) map[string]string {
	return map[string]string{shared.NameLabel: "wlbs-agent", v1alpha1.ClusterLabel: cluster}
}

// agentDaemonSet runs one agent on each of the nodes, which must not be empty.
//
// Its update strategy is OnDelete. The nodes are part of the pod template, so with RollingUpdate each node that comes or goes
// would restart all other agents; with OnDelete the DaemonSet controller adds and removes single pods, and what
// really is another agent is rolled out by the reconciler, see nextToReplace.
func agentDaemonSet(cluster *v1alpha1.LoadBalancingCluster, namespace, image string, nodes []string) *appsv1ac.DaemonSetApplyConfiguration {
	name := agentName(cluster.Name)
	pod := agentPodSpec(cluster.Name, image, int64(cluster.Spec.Dataplane.EffectiveMaxConnections()))
	annotations := map[string]string{
		"kubectl.kubernetes.io/default-container": agentContainer,
		revisionAnnotation:                        agentRevision(pod),
	}
	pod.WithAffinity(corev1ac.Affinity().WithNodeAffinity(exactNodes(nodes)))
	return appsv1ac.DaemonSet(name, namespace).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster)).
		WithSpec(appsv1ac.DaemonSetSpec().
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(agentSelector(cluster.Name))).
			WithUpdateStrategy(appsv1ac.DaemonSetUpdateStrategy().WithType(appsv1.OnDeleteDaemonSetStrategyType)).
			WithTemplate(corev1ac.PodTemplateSpec().
				WithLabels(agentLabels(cluster.Name)).
				WithAnnotations(annotations).
				WithSpec(pod)))
}

// agentPodSpec is all of an agent's pod but the nodes it runs on.
func agentPodSpec(cluster, image string, connections int64) *corev1ac.PodSpecApplyConfiguration {
	return corev1ac.PodSpec().
		WithServiceAccountName(agentName(cluster)).
		WithHostNetwork(true).
		WithDNSPolicy(corev1.DNSClusterFirstWithHostNet).
		WithPriorityClassName("system-node-critical").
		WithTerminationGracePeriodSeconds(30).
		WithNodeSelector(map[string]string{corev1.LabelOSStable: "linux"}).
		// Which nodes are hosts, and so the tolerations of the spec, is the hosts reconciler's decision. A taint must not
		// evict an agent that still has to take the virtual IPs off its node.
		WithTolerations(corev1ac.Toleration().WithOperator(corev1.TolerationOpExists)).
		WithContainers(agentContainerSpec(cluster, image, connections)).
		WithVolumes(
			hostPath("bpf", bpfPath, corev1.HostPathDirectory),
			hostPath("state", statePath, corev1.HostPathDirectoryOrCreate),
			hostPath("run", runPath, corev1.HostPathDirectoryOrCreate),
		)
}

// bytesPerConnection is what one entry of the connection table takes in the kernel, key, value and bookkeeping.
// BPF maps are allocated in full when they are created, and count as the agent's memory since kernel 5.11.
const bytesPerConnection = 128

func agentMemory(own, connections int64) resource.Quantity {
	return *resource.NewQuantity(own+connections*bytesPerConnection, resource.BinarySI)
}

func agentContainerSpec(cluster, image string, connections int64) *corev1ac.ContainerApplyConfiguration {
	return corev1ac.Container().
		WithName(agentContainer).
		WithImage(image).
		WithImagePullPolicy(corev1.PullIfNotPresent).
		WithCommand(agentProgram).
		WithArgs("run", "--cluster", cluster, "--node", "$(NODE_NAME)").
		WithEnv(
			fromField("NODE_NAME", "spec.nodeName"),
			// With these the agent finds out, when it is told to end, whether another follows.
			fromField("POD_NAMESPACE", "metadata.namespace"),
			fromField("POD_NAME", "metadata.name"),
			fromField("POD_UID", "metadata.uid"),
			corev1ac.EnvVar().WithName("DAEMONSET_NAME").WithValue(agentName(cluster)),
		).
		WithResources(corev1ac.ResourceRequirements().
			WithRequests(corev1.ResourceList{
				corev1.ResourceCPU:    resource.MustParse("20m"),
				corev1.ResourceMemory: agentMemory(64<<20, connections),
			}).
			// No CPU limit: throttling would delay heartbeats, and peers would take the host for lost.
			WithLimits(corev1.ResourceList{corev1.ResourceMemory: agentMemory(256<<20, 2*connections)})).
		WithSecurityContext(corev1ac.SecurityContext().
			WithPrivileged(false).
			WithAllowPrivilegeEscalation(false).
			WithReadOnlyRootFilesystem(true).
			WithRunAsUser(0).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault)).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL").WithAdd(agentCapabilities()...))).
		// Ready when the agent answers on its socket, so that an update does not go on to the next node before.
		// There is no liveness probe: the filter's lease ends by itself when an agent hangs, and its peers take over.
		WithReadinessProbe(corev1ac.Probe().
			WithExec(corev1ac.ExecAction().WithCommand(agentProgram, "query", "--cluster", cluster)).
			WithPeriodSeconds(10).WithTimeoutSeconds(5).WithFailureThreshold(3)).
		WithVolumeMounts(
			corev1ac.VolumeMount().WithName("bpf").WithMountPath(bpfPath),
			corev1ac.VolumeMount().WithName("state").WithMountPath(statePath),
			corev1ac.VolumeMount().WithName("run").WithMountPath(runPath),
		)
}

func fromField(name, path string) *corev1ac.EnvVarApplyConfiguration {
	return corev1ac.EnvVar().WithName(name).WithValueFrom(corev1ac.EnvVarSource().
		WithFieldRef(corev1ac.ObjectFieldSelector().WithFieldPath(path)))
}

func hostPath(name, path string, pathType corev1.HostPathType) *corev1ac.VolumeApplyConfiguration {
	return corev1ac.Volume().WithName(name).
		WithHostPath(corev1ac.HostPathVolumeSource().WithPath(path).WithType(pathType))
}

// exactNodes selects nodes by name. A matchFields requirement takes one value only, terms are alternatives.
func exactNodes(nodes []string) *corev1ac.NodeAffinityApplyConfiguration {
	selector := corev1ac.NodeSelector()
	for _, node := range slices.Sorted(slices.Values(nodes)) {
		selector.WithNodeSelectorTerms(corev1ac.NodeSelectorTerm().WithMatchFields(
			corev1ac.NodeSelectorRequirement().WithKey("metadata.name").WithOperator(corev1.NodeSelectorOpIn).WithValues(node)))
	}
	return corev1ac.NodeAffinity().WithRequiredDuringSchedulingIgnoredDuringExecution(selector)
}

// hostNodes are the nodes on which an agent must run: those of all hosts, the ones being removed among them.
func hostNodes(hosts []v1alpha1.LoadBalancingHost) []string {
	nodes := make([]string, 0, len(hosts))
	for i := range hosts {
		nodes = append(nodes, hosts[i].Spec.NodeName)
	}
	slices.SortFunc(nodes, strings.Compare)
	return slices.Compact(nodes)
}
