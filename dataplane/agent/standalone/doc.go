// SPDX-License-Identifier: Apache-2.0

// Package standalone lets an agent work without Kubernetes: its config comes from files, and a unix socket answers for
// its status. The socket is there in Kubernetes too.
//
//   - source.go: what the agent is told
//   - files.go: what is in the files, and since when
//   - clusters.go: which clusters are in force
//   - virtualips.go: to which cluster each virtual IP is assigned
//   - schema: whether a file says what the API server would take
//   - socket.go: the answers to queries; package query asks them
package standalone
