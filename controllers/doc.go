// SPDX-License-Identifier: Apache-2.0

// Package controllers holds the manager's reconcilers, one per concern:
//
//   - hosts turns the selected nodes into LoadBalancingHosts with stable host IDs, and sees to their orderly removal;
//   - dataplane runs the agents: one DaemonSet per cluster and what it may do;
//   - status puts together what the hosts report.
//
// None of them is on the data path: without the manager the nodes keep converging and serving.
package controllers
