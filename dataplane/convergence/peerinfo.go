// SPDX-License-Identifier: Apache-2.0

package convergence

import "github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"

// PeerClients is the state of a member's sticky client list (extended affinity), see package
// sticky.
type PeerClients struct {
	HostID uint8
	// Incarnation is 0 where no heartbeat of the member is known.
	Incarnation uint64
	Version     uint32
	// Released says that the heartbeat was sent after the member gave up what the committed round
	// took from it.
	Released bool
}

// Incarnation is the one in this host's heartbeats: a restored machine keeps that of its
// predecessor.
func (m *Machine) Incarnation() uint64 { return m.s.Incarnation }

// PeerClients returns that of all members of the committed round but this host, in the order of
// their IDs.
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

// PeerTraffic is what a live peer's newest heartbeat says of the handshakes there, modulo 2^32.
type PeerTraffic struct {
	HostID           uint8
	SYNs, Handshakes uint32
}

// PeerTraffic returns the counters of the peers that are members, in the order of their IDs. They
// change with every heartbeat, so they are not in the View.
func (m *Machine) PeerTraffic() []PeerTraffic {
	var out []PeerTraffic
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		out = append(out, PeerTraffic{HostID: id, SYNs: msg.SYNs, Handshakes: msg.Handshakes})
	}
	return out
}
