// SPDX-License-Identifier: Apache-2.0

package convergence

// PeerTraffic is what a live peer's newest heartbeat says of the handshakes there, modulo 2^32.
type PeerTraffic struct {
	HostID           uint8
	SYNs, Handshakes uint32
}

// PeerTraffic returns the counters of the peers that are members, in the order of their IDs. They change with every heartbeat, so that they
// are no part of the View.
func (m *Machine) PeerTraffic() []PeerTraffic {
	var out []PeerTraffic
	for id := range each(m.mutual) {
		msg := m.peers[id].msg
		out = append(out, PeerTraffic{HostID: id, SYNs: msg.SYNs, Handshakes: msg.Handshakes})
	}
	return out
}
