// SPDX-License-Identifier: Apache-2.0

// Package status puts together what the hosts of a LoadBalancingCluster report: its status, Events about what changed,
// and metrics.
package status
