// SPDX-License-Identifier: Apache-2.0

// Package sticky tells hosts which clients each of them holds by extended affinity (US8046467). The owner of a bucket
// drops the new connections of a client that another host holds.
//
// A host's list names the clients that it holds in buckets of others. Its heartbeats carry the list's version; a host
// that lacks this version asks for it. A list is always sent as a whole, so that a lost, repeated or late frame, or a
// peer that starts again, does no harm.
//
// In code, what belongs to extended affinity is called sticky; the API and the documents say extended affinity.
//
// The package is pure: no clock, no socket, no goroutine of its own.
package sticky
