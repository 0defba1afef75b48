// SPDX-License-Identifier: Apache-2.0

// Package controllers wires the manager's reconcilers, each of which has a room of its own:
//
//   - hosts turns the selected nodes into LoadBalancingHosts with stable host IDs, and sees to their orderly removal;
//   - virtualips assigns virtual IPs to clusters, and says which of them each host serves;
//   - agents runs the agents: one DaemonSet for the installation;
//   - status puts together what the hosts report, as status, Events and metrics.
//
// What several of them need is in shared. None of them is on the data path: without the manager the nodes keep
// converging and serving.
package controllers
