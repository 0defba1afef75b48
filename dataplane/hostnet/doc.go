// SPDX-License-Identifier: Apache-2.0

// Package hostnet sets up what a member host needs from the node's network stack: the virtual IPs as
// local addresses, the cluster MAC in the interface's receive filter, and the announcement of both.
//
// Several clusters may need the same: Claims knows who needs what.
//
// All of it outlives the agent, so that a restarted agent loses no packet, and all of it can be told from what others
// configured: everything is idempotent, and what is removed is what was added here. The functions act in the network
// namespace of the calling thread.
package hostnet
