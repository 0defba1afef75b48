// SPDX-License-Identifier: Apache-2.0

// Package hostspec says which host of a cluster a node is: its host ID, and the spec of its LoadBalancingHost. The
// manager and the agent without Kubernetes come to the same answers by it. It does no I/O.
package hostspec
