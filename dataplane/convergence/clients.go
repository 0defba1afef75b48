// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// PeerClients is what a member's newest heartbeat says of its list of clients, see package sticky.
type PeerClients struct {
	HostID uint8
	// Incarnation is 0 where no heartbeat of the member is known.
	Incarnation uint64
	Version     uint32
	// Released says that the heartbeat was sent after the member gave up what the committed round took from it.
	Released bool
}

// Incarnation is the one of this host's heartbeats: a machine that was restored goes on in that of its predecessor.
func (m *Machine) Incarnation() uint64 { return m.s.Incarnation }

// PeerClients returns that of all members by the round in force but this host, in the order of their IDs.
func (m *Machine) PeerClients() []PeerClients {
	var out []PeerClients
	for id := range each(m.committed.view.Without(m.s.HostID)) {
		p := PeerClients{HostID: id}
		if msg := m.peers[id].msg; msg != nil {
			acked := msg.Round == m.committed.id && msg.Flags&heartbeat.Acked != 0
			p.Incarnation, p.Version = msg.Incarnation, msg.ClientsVersion
			p.Released = acked || !m.committed.id.After(msg.Committed)
		}
		out = append(out, p)
	}
	return out
}
