// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/bucket"

// decide returns the state of the filter.
func (m *Machine) decide() Decision {
	d := Decision{Epoch: m.committed.id.Number, Policy: digestOf(m.inForce)}
	if m.inForce != nil {
		d.PolicyGeneration = m.inForce.Generation
	}
	if !m.serving() || !m.hasSent {
		return d
	}
	d.LeaseUntil = m.LeaseUntil()
	var busy bucket.Table
	for id := range each(m.live) {
		msg := m.peers[id].msg
		for i := range busy {
			busy[i] |= bucket.All.Minus(msg.Idle[i])
		}
	}
	for i := range d.Accept {
		d.Accept[i] = m.accept[i].Minus(m.masked[i])
		d.Busy[i] = busy[i] & d.Accept[i]
	}
	return d
}

// setIdle stores the buckets without tracked connections. Those that the filter accepted meanwhile
// may have new ones: they count as idle only by a sample that began after they were no longer
// accepted, for whatever reason.
func (m *Machine) setIdle(t bucket.Table) { m.idle = without(&t, &m.decision.Accept) }

func without(t, accepted *bucket.Table) bucket.Table {
	var out bucket.Table
	for i := range out {
		out[i] = t[i].Minus(accepted[i])
	}
	return out
}
