// SPDX-License-Identifier: Apache-2.0

// Package agents runs the agents: one DaemonSet for the installation, as long as there is a LoadBalancingCluster or a
// LoadBalancingHost. Its pod template depends on the release and the manager's settings only, so Kubernetes rolls it
// out as any other.
package agents
