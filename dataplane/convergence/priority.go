// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// hasDuplicatePriority reports whether a peer that takes precedence has the handling priority of
// this host in a Single rule.
func (m *Machine) hasDuplicatePriority() bool {
	if m.advertised == nil || m.dispute == disputeHostID || !m.member() {
		return false
	}
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&notMember == 0 && m.precedes(msg) && samePriority(m.advertised, msg) >= 0 {
			return true
		}
	}
	return false
}

// precedes reports whether a peer stays a member where only one of it and this host can: the one
// that serves, else the one with the lower ID. Hosts of two partitions that merge do not compare:
// one of the two gives up its buckets first.
func (m *Machine) precedes(msg *heartbeat.Message) bool {
	serves := msg.Flags&heartbeat.Serving != 0
	switch {
	case m.inOtherPartition(msg):
		return false
	case serves != m.serving():
		return serves
	case serves:
		return msg.HostID < m.s.HostID
	default: // one that other rules keep out takes nobody's place
		return msg.HostID < m.s.HostID && holds(msg, digestOf(m.advertised))
	}
}

// samePriority returns the first Single slot in which the sender has the priority that the policy
// gives this host, -1 if there is none. Rules that are disabled or drained count, for that may
// change at any time.
func samePriority(p *Policy, msg *heartbeat.Message) int {
	for i := range bucket.DefaultSlot {
		s := &p.Slots[i]
		own := heartbeat.NewRule(uint8(s.Mode), heartbeat.Enabled, s.Priority, s.Digest)
		if s.Mode == placement.Single && msg.Rules[i].Of(heartbeat.Enabled) == own {
			return i
		}
	}
	return -1
}
