// SPDX-License-Identifier: Apache-2.0

// Package sticky lets hosts know which clients stay with whom by extended affinity (US8046467), so that the
// owner of a bucket leaves those alone that another host holds.
//
// A host's list names the clients that it holds in buckets of others. Its heartbeats carry the list's
// version; who lacks that version asks for it. Lists are states, not changes: a lost, repeated or overtaken
// frame does no harm, and neither does a peer that starts again.
//
// The package is pure: no clock, no socket, no goroutine of its own.
package sticky
