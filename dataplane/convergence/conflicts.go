// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// updateConflicts finds out which hosts contradict each other.
func (r *reporter) updateConflicts(m *Machine) {
	var out []Conflict
	if !m.stopped() {
		out = m.duplicateIDs(out)
		out = m.differentPolicies(out)
		out = m.equalPriorities(out)
	}
	if slices.Equal(out, r.conflicts) {
		return
	}
	for _, c := range out {
		if !slices.ContainsFunc(r.conflicts, c.same) {
			r.transition(TransitionConflict, c.Hosts[1], "%s", c.Message)
		}
	}
	for _, c := range r.conflicts {
		if !slices.ContainsFunc(out, c.same) {
			r.transition(TransitionConflictResolved, c.Hosts[1], "no longer: %s", c.Message)
		}
	}
	r.conflicts = out
}

// same reports whether two conflicts differ in their words only.
func (c Conflict) same(o Conflict) bool {
	return c.Reason == o.Reason && c.Hosts == o.Hosts && c.Keys == o.Keys
}

// duplicateIDs finds hosts with one ID (Microsoft KB Q193599).
func (m *Machine) duplicateIDs(out []Conflict) []Conflict {
	for id := uint8(1); id <= heartbeat.MaxHosts; id++ {
		duplicate := m.duplicates[id].msg
		if duplicate == nil {
			continue
		}
		first := m.latest(id)
		if first == nil || id != m.s.HostID && first.HostKey == duplicate.HostKey {
			continue // nobody has the ID any more, or the host itself got it since
		}
		a, b := first, duplicate
		if id == m.s.HostID && m.dispute == disputeHostID {
			a, b = duplicate, first
		}
		out = append(out, Conflict{
			Reason: CauseDuplicateHostID, Hosts: [2]uint8{id, id}, Keys: [2]uint32{a.HostKey, b.HostKey},
			Message: fmt.Sprintf("host ID %d is used by %s and by %s, which stays out", id, m.whois(a), m.whois(b)),
		})
	}
	return out
}

// differentPolicies finds hosts that are kept apart by different rules (Microsoft KB Q193599,
// Q198496).
func (m *Machine) differentPolicies(out []Conflict) []Conflict {
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		if msg.Flags&notMember != 0 || msg.Offered == digestOf(m.offered) {
			continue
		}
		var first, second *heartbeat.Message
		switch {
		case m.serving() && !holds(msg, digestOf(m.inForce)):
			first, second = m.self, msg
		case !m.serving() && msg.Flags&heartbeat.Serving != 0 && m.held(msg.InForce) == nil:
			first, second = msg, m.self
		case !m.serving() && msg.Flags&heartbeat.Serving == 0 &&
			m.held(msg.InForce) == nil && !holds(msg, digestOf(m.inForce)):
			first, second = m.self, msg
			if id < m.s.HostID {
				first, second = msg, m.self
			}
		default:
			continue
		}
		out = append(out, m.policyConflict(first, second))
	}
	return out
}

func (m *Machine) policyConflict(a, b *heartbeat.Message) Conflict {
	c := Conflict{
		Reason: CauseModifiedRules,
		Hosts:  [2]uint8{a.HostID, b.HostID}, Keys: [2]uint32{a.HostKey, b.HostKey},
	}
	c.Message = fmt.Sprintf("host %s has other port rules (generation %d) than host %s (generation %d) and stays out",
		m.label(b), b.OfferedGeneration, m.label(a), a.OfferedGeneration)
	if a.RuleCount != b.RuleCount {
		c.Reason = CauseNumberOfRules
		c.Message = fmt.Sprintf(
			"host %s has %d port rules (generation %d) and stays out: host %s has %d (generation %d)",
			m.label(b), b.RuleCount, b.OfferedGeneration, m.label(a), a.RuleCount, a.OfferedGeneration)
	}
	return c
}

// equalPriorities finds hosts that stay out because their handling priority in a Single slot is
// that of another (NLB event 20).
func (m *Machine) equalPriorities(out []Conflict) []Conflict {
	for id := range each(m.mutual.With(m.s.HostID)) {
		if loser := m.latest(id); loser.Flags&heartbeat.Clashing != 0 {
			out = m.priorityConflict(loser, out)
		}
	}
	return out
}

// priorityConflict adds the conflict of a host that stays out with the one whose handling priority
// it has.
func (m *Machine) priorityConflict(loser *heartbeat.Message, out []Conflict) []Conflict {
	for id := range each(m.mutual.With(m.s.HostID).Without(loser.HostID)) {
		first := m.latest(id)
		if first.Flags&notMember != 0 {
			continue
		}
		for i := range bucket.DefaultSlot {
			rule := first.Rules[i]
			same := rule.Of(heartbeat.Enabled) == loser.Rules[i].Of(heartbeat.Enabled)
			if rule.Mode() != uint8(placement.Single) || !same {
				continue
			}
			return append(out, Conflict{
				Reason: CauseBadConfig,
				Hosts:  [2]uint8{first.HostID, loser.HostID}, Keys: [2]uint32{first.HostKey, loser.HostKey},
				Message: fmt.Sprintf("host %s failed to converge due to port rules with a duplicate "+
					"single host priority: "+
					"%d in %s is that of host %s, which goes on",
					m.label(loser), rule.Priority()+1, m.slotName(i), m.label(first)),
			})
		}
	}
	return out
}

// slotName is what people call the rule of a slot.
func (m *Machine) slotName(slot int) string {
	if m.advertised == nil || m.advertised.Slots[slot].Name == "" {
		return fmt.Sprintf("the rule of slot %d", slot)
	}
	return fmt.Sprintf("rule %q", m.advertised.Slots[slot].Name)
}
