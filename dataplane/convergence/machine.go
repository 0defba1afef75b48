// SPDX-License-Identifier: Apache-2.0

package convergence

import "time"

// Machine is the state of one host.
type Machine struct{ s Settings }

// New returns a machine that is Stopped.
func New(s Settings, now time.Duration) *Machine { return &Machine{s: s} }

// Step takes events in order.
func (m *Machine) Step(now time.Duration, events ...Event) Output { return Output{View: &View{}} }
