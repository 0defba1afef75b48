// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Name is that of the DaemonSet, and of the ServiceAccount, ClusterRole and Role in config/agent.
const Name = "kube-wlbs-agent"

// Settings are what an administrator may choose for all agents, by flags of the manager.
type Settings struct {
	// Image is the agents' image.
	Image string
	// Resources are the agents' requests and limits.
	Resources corev1.ResourceRequirements
	// NodeSelector limits the nodes on which agents run, and so those that can be hosts, besides that their system is
	// Linux.
	NodeSelector map[string]string
	// Tolerations are those of the agents' pods.
	Tolerations []corev1.Toleration
	// Verbose makes agents log more.
	Verbose bool
}

// DefaultResources fit an agent of a few clusters. BPF maps are the agent's memory since Linux 5.11: about 15 MB when a
// cluster comes, and about 128 bytes for each connection that is tracked then, 32 MiB at most with the default
// spec.dataplane.maxConnections. So the request holds the agent itself and the maps of a few clusters, and there is no
// limit: which clusters a node is host of is not known when its pod starts, and a limit met would kill the agent of all
// of them. Without a limit of CPU heartbeats are never throttled, which peers would take for a loss of the host.
func DefaultResources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("20m"),
		corev1.ResourceMemory: resource.MustParse("128Mi"),
	}}
}

// DefaultTolerations tolerate everything: which nodes are hosts is decided by the clusters, and a taint must not evict
// an agent that still has to take the virtual IPs off its node.
func DefaultTolerations() []corev1.Toleration {
	return []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

// Selector is the node selector of the agents' pods.
func (s *Settings) Selector() map[string]string {
	selector := map[string]string{corev1.LabelOSStable: "linux"}
	maps.Copy(selector, s.NodeSelector)
	return selector
}
