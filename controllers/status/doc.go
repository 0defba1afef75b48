// SPDX-License-Identifier: Apache-2.0

// Package status puts together what the hosts of a LoadBalancingCluster report: its status, Events about what changed,
// and metrics.
//
//   - views.go, aggregate.go: whose report counts, and what the cluster is by it
//   - conditions.go: its conditions
//   - events.go: Events, from the status before and after
//   - metrics.go: metrics, from the status
//   - outdated.go: hosts whose reports ran out
//   - controller.go, setup.go: the reconciler, and what wakes it
package status
