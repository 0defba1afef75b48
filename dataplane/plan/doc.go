// SPDX-License-Identifier: Apache-2.0

// Package plan turns what a node is asked to be, a Config of API objects, into a Plan in the terms of the dataplane:
// addresses parsed, defaults filled in, rules in slots, and the digests by which hosts know whether they filter by the
// same rules. It does no I/O and has no clock.
//
//   - config.go: what a source delivers
//   - plan.go: the Plan; rules.go, vips.go: its rules and virtual IPs
//   - digest.go, encode.go, keys.go: what hosts compare over the wire (docs/design/wire.md)
//   - convert.go, identity.go: the Plan in the terms of convergence, filter and heartbeats
package plan
