// SPDX-License-Identifier: Apache-2.0

package words

import (
	"fmt"
	"io"
	"strings"
)

// Peer is a host as one of its peers knows it, from heartbeats alone.
type Peer struct {
	HostID int32 `json:"hostID"`
	// NodeName is "" for a host that has not said its name yet: hosts do so every 10 s.
	NodeName string `json:"nodeName,omitempty"`
	// Addresses are the node's own on the cluster's interface.
	Addresses []string `json:"addresses,omitempty"`
}

// WritePeers prints who the hosts are that one lists by their IDs.
func WritePeers(w io.Writer, peers []Peer) error {
	var b strings.Builder
	writePeers(&b, peers)
	_, err := io.WriteString(w, b.String())
	return err
}

func writePeers(b *strings.Builder, peers []Peer) {
	for _, p := range peers {
		switch {
		case p.NodeName == "":
			fmt.Fprintf(b, "Host %d has not said its name yet\n", p.HostID)
		case len(p.Addresses) == 0:
			fmt.Fprintf(b, "Host %d is %s\n", p.HostID, p.NodeName)
		default:
			fmt.Fprintf(b, "Host %d is %s (%s)\n", p.HostID, p.NodeName, strings.Join(p.Addresses, ", "))
		}
	}
}
