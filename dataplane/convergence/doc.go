// SPDX-License-Identifier: Apache-2.0

// Package convergence is the state machine by which the hosts of a cluster agree on who is a member and who owns which
// buckets. It has no clock, no socket and no goroutine: events and the time go in, a heartbeat to send and a decision for
// the filter come out, and equal inputs give equal outputs.
//
//	m := convergence.New(settings, now)
//	out := m.Step(now, convergence.Offer{Policy: policy}, convergence.AdminStateChanged{State: convergence.Started})
//	for {
//		// 1. apply out.Decision to the filter, before anything is sent: peers count on it
//		// 2. send out.Send, if any
//		// 3. report out.View, log out.Transitions
//		// 4. wait until out.Wake or an event
//		out = m.Step(now, convergence.Received{Message: &message})   // or Tick, Idle, Traffic, Leave, Hold, ...
//	}
//
// Events:
//
//	Tick          time has passed
//	Received      a heartbeat that was decoded
//	Named         what a host calls itself, for messages
//	Offer         the policy this host holds ready; comes into force when all members hold it
//	AdminStateChanged  Started, Drained, Stopped or Suspended
//	Timing        another heartbeat period or tolerance
//	Idle          buckets without tracked connections, sampled after the last Decision was applied
//	Traffic       counters and stall verdict to carry in the heartbeats
//	Unsent        the last heartbeat could not be sent
//	Leave         the agent ends: hand over and say when that is done (Output.Left)
//	Hold          the agent is about to restart: ask peers for patience (Output.HoldReady), see Machine.Snapshot and Restore
//
// docs/convergence.md explains the protocol and why no two hosts that hear each other ever accept the same bucket.
package convergence
