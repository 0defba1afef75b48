// SPDX-License-Identifier: Apache-2.0

// Package virtualips assigns virtual IPs to LoadBalancingClusters, so that no two ever serve one address.
//
// The status of the clusters is the only store: status.virtualIPs lists what is assigned to a cluster. An address goes
// its way in steps, each of which is persisted before the next is taken, so that a manager may end between any two of
// them:
//
//  1. A cluster lists the address in its spec, it is assigned to no cluster, no host of another cluster has it, it is
//     no node's own: its status gets it. Of several clusters that ask in one look the oldest gets it, then the first
//     by name.
//  2. The status has it: the spec.virtualIPs of the cluster's hosts get it, and their agents serve it.
//  3. The cluster's spec no longer lists it: the hosts' spec loses it, while it stays assigned to the cluster.
//  4. The agents of all hosts have acted on that, or the hosts are gone: the status loses it, and it is free.
//
// Decide says all of this from one look at the API and does no I/O. The Reconciler acts on looks that do not come from
// a cache, and each write fails if its object changed since the look: a cache that lags, of a manager that has just
// become the leader, cannot hand an address to two clusters.
package virtualips
