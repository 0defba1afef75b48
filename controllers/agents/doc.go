// SPDX-License-Identifier: Apache-2.0

// Package agents runs the agents on the nodes.
package agents
