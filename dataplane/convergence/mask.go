// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// mask takes out of the filter what hosts of another partition still accept, until one of the two
// groups has given up its buckets.
func (m *Machine) mask() {
	m.masked = bucket.Table{}
	if !m.enforced(ruleYield) || !m.enforced(ruleMask) {
		return
	}
	for id := range each(m.mutual) {
		if msg := m.peers[id].msg; m.inOtherPartition(msg) {
			m.maskBy(msg)
		}
	}
	if r := m.duplicates[m.s.HostID].msg; r != nil && m.serving() && r.Flags&heartbeat.Serving != 0 {
		m.maskBy(r)
	}
}

// maskBy takes out what one other host accepts; everything if that filters by another policy.
func (m *Machine) maskBy(msg *heartbeat.Message) {
	for i := range m.masked {
		m.masked[i] |= msg.Ready[i]
		if msg.InForce != digestOf(m.inForce) {
			m.masked[i] = bucket.All
		}
	}
}
