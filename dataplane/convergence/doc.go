// SPDX-License-Identifier: Apache-2.0

// Package convergence is the state machine by which the hosts of a cluster agree on who is a member
// and who owns which buckets. It has no clock, no socket and no goroutine: events and the time go
// in, a heartbeat to send and a decision for the filter come out, and equal inputs give equal
// outputs. docs/convergence.md explains the protocol, and why no two hosts that hear each other ever
// accept the same bucket.
//
//	m := convergence.New(settings, now)
//	out := m.Step(now, convergence.Offer{Policy: policy}, convergence.AdminStateChanged{State: convergence.Started})
//	for {
//		// 1. apply out.Decision to the filter, before anything is sent: peers count on it
//		// 2. send out.Send, if any
//		// 3. report out.View, log out.Transitions
//		// 4. wait until out.Wake or an event
//		out = m.Step(now, convergence.Received{Message: &message})
//	}
//
// # Events
//
// events.go has their types; the file named here has what the machine does with them.
//
//	Tick               nothing but time has passed
//	Received           a heartbeat was decoded                                        receive.go
//	Named              a host said the name of its node                               names.go
//	Offer              this host holds a policy; a round brings it in force           policy.go
//	AdminStateChanged  the host shall be Started, Drained, Stopped or Suspended       admin.go
//	Leave              the agent ends: hand over, and say when that is done           admin.go
//	Timing             another heartbeat period or tolerance                          timing.go
//	Idle               buckets without connections, sampled after the last Decision   decide.go
//	Traffic            counters and stall verdict for the heartbeats                  compose.go
//	Carrier            the interface has, or lost, its carrier                        carrier.go
//	Hold               the agent is about to restart: ask peers not to take over      hold.go
//	Unsent             the heartbeat of the last Output was not sent in time          send.go
//
// # Evaluation
//
// Step fences a host that was silent for too long (fence.go), applies the events, and brings the
// state up to date in these phases (Machine.evaluate), each in the file of its name:
//
//	expire        drop peers that left or were silent, find those that hear this host
//	              (a host that is stopped, or without a carrier, ends here: leave.go, carrier.go)
//	duplicate     fence this host if another one with its ID is established
//	merge         in contact with another partition: exclude this host, if the other takes precedence
//	elect         find the leader (its other inputs: priority.go, policy.go)
//	compose       describe this host in its heartbeat
//	yield         promise to accept nothing to a round that leaves this host out
//	propose       leader: propose a round (due.go), for a view (candidates.go)
//	follow        others: take part in the leader's round
//	acknowledge   agree, if this host computes the same assignment (assign.go), and release first
//	commit        put the round in force
//	mask          do not accept what another partition still accepts
//	hold          extend the lease, if all peers honour an announced silence
//	leave         end the membership, once the buckets are handed over
//	compose       describe the result
//
// The phases from duplicate to commit run until nothing changes any more. Then report.go, with
// conflicts.go, makes the View, decide.go the Decision for the filter, and send.go the Output.
//
// state.go has the states that the phases change. rules.go names the rules on which safety rests.
// snapshot.go carries a machine over a restart of its agent.
package convergence
