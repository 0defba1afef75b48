// SPDX-License-Identifier: Apache-2.0

// Package hosts makes the nodes that a LoadBalancingCluster selects its LoadBalancingHosts, gives them their host IDs,
// and drains and removes them when their nodes are to be hosts no longer.
package hosts
