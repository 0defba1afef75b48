// SPDX-License-Identifier: Apache-2.0

// Package shared has what more than one reconciler of the manager needs: server-side apply, conditions, bounded Events,
// how long hosts' reports are valid, and which events wake whom.
package shared
