// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"time"
)

// Ending is what follows when an agent is told to end.
type Ending uint8

// The endings.
const (
	// EndingRestart: another agent takes over on this node in a moment. The host holds its place.
	EndingRestart Ending = iota
	// EndingShutdown: the node goes down, or nobody can tell that another agent follows. The host leaves, and
	// its last config stays for an agent that starts after a reboot.
	EndingShutdown
	// EndingRemoval: no agent follows. The host leaves, and nothing stays on the node.
	EndingRemoval
)

// judgeTimeout bounds the search for what follows. The host goes on serving meanwhile.
const judgeTimeout = 3 * time.Second

// judgement is an Ending with its reason in words.
type judgement struct {
	ending Ending
	why    string
}

// judge finds out what follows. A host that cannot tell leaves: a hold in vain costs its clients more than a leave in vain.
func (m *member) judge(ctx context.Context) (judgement, error) {
	if m.agent.Ending == nil {
		if m.agent.RestartHold > 0 {
			return judgement{EndingRestart, "the agent was told to end"}, nil
		}
		return judgement{EndingRemoval, "the agent was told to end"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	found := make(chan judgement, 1)
	go func() {
		ending, why := m.agent.Ending(ctx)
		found <- judgement{ending, why}
	}()
	j := judgement{EndingShutdown, "the agent was told to end, and could not find out why in time"}
	known := false
	err := m.stepUntil(ctx, judgeTimeout, func() bool {
		select {
		case j = <-found:
			known = true
		default:
		}
		return known
	})
	if ctx.Err() != nil {
		err = nil // that is an answer too
	}
	return j, err
}

// depart leaves the cluster and takes everything off the interface.
func (m *member) depart(ctx context.Context) error {
	if err := m.leave(ctx); err != nil {
		m.log.Error("Left without handing over", "error", err)
	}
	return m.node.remove(ctx)
}
