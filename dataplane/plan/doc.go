// SPDX-License-Identifier: Apache-2.0

// Package plan turns what a node is asked to be, a Config of API objects, into a Plan in the terms of the dataplane:
// addresses parsed, defaults filled in, rules in slots, and the digests by which hosts tell whether they filter by the
// same rules. It does no I/O and has no clock.
package plan
