// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// offer stores a policy. If it has the digest of the policy in force, only this host's weights,
// priorities and rule states changed: the next round places by them.
func (m *Machine) offer(p Policy) {
	m.offered = &p
	if m.inForce != nil && m.inForce.Digest == p.Digest {
		m.inForce = &p
	}
	if m.advertised == nil || m.advertised.Digest == p.Digest {
		m.advertised = &p
	}
	m.self.InForce, m.self.Offered = digestOf(m.inForce), digestOf(m.offered)
}

func digestOf(p *Policy) uint64 {
	if p == nil {
		return 0
	}
	return p.Digest
}

// held returns the policy with the digest, nil if this host does not hold it.
func (m *Machine) held(digest uint64) *Policy {
	switch {
	case digest == 0:
		return nil
	case digestOf(m.offered) == digest:
		return m.offered
	case digestOf(m.inForce) == digest:
		return m.inForce
	default:
		return nil
	}
}

// choosePolicy returns the digest of the policy for a round among the given peers and this host:
// the offered one if all offer the same, else the one in force on hosts that serve, else the one
// offered here. This host may not hold it.
func (m *Machine) choosePolicy(among heartbeat.Set) uint64 {
	offered := digestOf(m.offered)
	same := true
	var serving uint64
	if m.serving() {
		serving = digestOf(m.inForce)
	}
	for id := range each(among) {
		msg := m.peers[id].msg
		same = same && msg.Offered == offered
		if serving == 0 && msg.Flags&heartbeat.Serving != 0 {
			serving = msg.InForce
		}
	}
	if same || serving == 0 {
		return offered
	}
	return serving
}

// chooseAdvertised selects the policy whose rules and weights the heartbeat advertises: the one
// that the leader chose, if this host holds it.
func (m *Machine) chooseAdvertised() {
	want := digestOf(m.offered)
	switch {
	case m.leader == m.s.HostID:
		m.lead.plan(m)
		want = m.lead.policy
	case m.leader != 0:
		want = advertisedDigest(m.peers[m.leader].msg)
	case m.serving():
		want = digestOf(m.inForce)
	}
	if p := m.held(want); p != nil {
		m.advertised = p
	} else if m.advertised = m.offered; m.advertised == nil {
		m.advertised = m.inForce
	}
}

// carriesOver returns the part of t, owned under the policy in force, that may go on being accepted
// while a round brings in another policy: slots to which the same packets belong under both.
func (m *Machine) carriesOver(t *bucket.Table, next *Policy) bucket.Table {
	if m.inForce == nil || m.inForce.Digest == next.Digest {
		return *t
	}
	var out bucket.Table
	all := true
	for i := range bucket.Slots {
		a, b := &m.inForce.Slots[i], &next.Slots[i]
		if a.Mode == placement.Unused && b.Mode == placement.Unused {
			continue
		}
		same := a.Mode == b.Mode && a.Digest == b.Digest && a.Digest != 0
		all = all && same
		if same && (i != bucket.DefaultSlot || all) {
			out[i] = t[i]
		}
	}
	return out
}

// holds reports whether the sender of a heartbeat holds the policy, in force or offered.
func holds(msg *heartbeat.Message, policy uint64) bool {
	return policy != 0 && (msg.InForce == policy || msg.Offered == policy)
}

// advertisedDigest is the digest of the policy to which the rules and weights in a heartbeat
// belong.
func advertisedDigest(msg *heartbeat.Message) uint64 {
	if msg.Flags&heartbeat.TablesOffered != 0 {
		return msg.Offered
	}
	return msg.InForce
}
