// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"fmt"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// maxNames bounds what a flood of invented names costs.
const maxNames = 2 * heartbeat.MaxHosts

// learnName stores a host's name. If there are too many it drops those of hosts that are not heard.
func (m *Machine) learnName(n Named) {
	if _, known := m.names[n.HostKey]; !known && len(m.names) >= maxNames {
		heard := map[uint32]string{}
		for id := range m.peers {
			for _, msg := range []*heartbeat.Message{m.peers[id].msg, m.duplicates[id].msg} {
				if msg != nil && m.names[msg.HostKey] != "" {
					heard[msg.HostKey] = m.names[msg.HostKey]
				}
			}
		}
		m.names = heard
	}
	m.names[n.HostKey] = n.HostName
}

// nameOf returns a host's name, "" if it is not known.
func (m *Machine) nameOf(h *heartbeat.Message) string {
	if h.HostKey == m.s.HostKey {
		return m.s.HostName
	}
	return m.names[h.HostKey]
}

// whois describes the node that sent a heartbeat, by name and address.
func (m *Machine) whois(h *heartbeat.Message) string {
	address := fmt.Sprintf("%d.%d.%d.%d", h.HostIP[0], h.HostIP[1], h.HostIP[2], h.HostIP[3])
	name := m.nameOf(h)
	switch {
	case name != "" && h.HostIP != [4]byte{}:
		return fmt.Sprintf("%s (%s)", name, address)
	case name != "":
		return name
	case h.HostIP != [4]byte{}:
		return fmt.Sprintf("the host at %s (key %08x)", address, h.HostKey)
	default:
		return fmt.Sprintf("the host with key %08x", h.HostKey)
	}
}

// label is a host's ID, with its name if that is known.
func (m *Machine) label(h *heartbeat.Message) string {
	if name := m.nameOf(h); name != "" {
		return fmt.Sprintf("%d (%s)", h.HostID, name)
	}
	return fmt.Sprint(h.HostID)
}
