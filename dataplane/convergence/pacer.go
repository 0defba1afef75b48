// SPDX-License-Identifier: Apache-2.0

package convergence

import "time"

// pacer limits the heartbeats between the periodic ones, so that two hosts that keep answering each
// other do not flood the link.
type pacer struct {
	credit int
	since  time.Duration
}

const (
	pacerBurst = 24
	// pacerRefill heartbeats are earned per period.
	pacerRefill = 12
)

func (p *pacer) fill(now time.Duration) { p.credit, p.since = pacerBurst, now }

// take spends one heartbeat, if there is one.
func (p *pacer) take(now, period time.Duration) bool {
	step := period / pacerRefill
	if earned := int((now - p.since) / step); earned > 0 {
		p.credit = min(pacerBurst, p.credit+earned)
		p.since += time.Duration(earned) * step
	}
	if p.credit == 0 {
		return false
	}
	p.credit--
	return true
}

// next is when there is another one.
func (p *pacer) next(period time.Duration) time.Duration { return p.since + period/pacerRefill }
