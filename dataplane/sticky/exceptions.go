// SPDX-License-Identifier: Apache-2.0

package sticky

// Exceptions returns how the clients that peers hold differ from those of the last call: whom to add, with the host
// that holds them, and whom to remove.
func (e *Exchange) Exceptions() (add map[Client]uint8, remove []Client) {
	if !e.changed {
		return nil, nil
	}
	e.changed = false
	now := make(map[Client]uint8, len(e.applied))
	for id := range e.peers {
		for _, c := range e.peers[id].clients {
			if _, ok := now[c]; !ok {
				now[c] = uint8(id) // the lowest ID
			}
		}
	}
	add = map[Client]uint8{}
	for c, holder := range now {
		if before, ok := e.applied[c]; !ok || before != holder {
			add[c] = holder
		}
	}
	for c := range e.applied {
		if _, ok := now[c]; !ok {
			remove = append(remove, c)
		}
	}
	e.applied = now
	return add, remove
}

// Applied says which exceptions the filter has really, for the next call of Exceptions.
func (e *Exchange) Applied(exceptions map[Client]uint8) { e.applied, e.changed = exceptions, true }

// Lost returns those of the clients that this host holds which it has to give up, as another host holds them too: after
// a partition, for instance. Who is on a peer's list goes to the peer; of two hosts that both have a client on their
// lists, the one with the lower ID holds it.
func (e *Exchange) Lost(held *Held) []Client {
	var lost []Client
	for _, c := range held.Own {
		if _, ok := e.applied[c]; ok {
			lost = append(lost, c)
		}
	}
	for _, c := range held.Away {
		if holder, ok := e.applied[c]; ok && holder < e.s.HostID {
			lost = append(lost, c)
		}
	}
	return lost
}
