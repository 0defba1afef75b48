// SPDX-License-Identifier: Apache-2.0

package heartbeat

import "encoding/binary"

// Cluster identifies a cluster on the wire. All frames of its hosts carry both parts.
type Cluster struct {
	// IP is the primary virtual IP; zero where that is an IPv6 address.
	IP [4]byte
	// Key tells clusters apart whose IP is the same, see Extension.ClusterKey.
	Key uint32
}

// ClusterOf returns the cluster that a frame of any Kind belongs to. It takes any input without panicking, and looks at
// no more of a frame than it needs: one that it finds a cluster in may be malformed. It reports false for frames that
// are not of kube-wlbs, for instance those of Windows hosts.
func ClusterOf(payload []byte) (Cluster, bool) {
	var c Cluster
	if len(payload) < commonHeader {
		return c, false
	}
	copy(c.IP[:], payload[offClusterIP:])
	le := binary.LittleEndian
	switch KindOf(payload) {
	case KindMembership:
		if len(payload) < Size || le.Uint32(payload[offExtension:]) != extensionMagic {
			return Cluster{}, false
		}
		c.Key = le.Uint32(payload[offExtension+extensionClusterKey:])
	case KindReliable:
		h, ok := ReliableHeaderOf(payload)
		if !ok {
			return Cluster{}, false
		}
		c.Key = h.ClusterKey
	case KindIdentity:
		// its key stands behind a name of any length, and it comes every few seconds only
		i, err := UnmarshalIdentity(payload)
		if err != nil {
			return Cluster{}, false
		}
		c.Key = i.ClusterKey
	default:
		return Cluster{}, false
	}
	return c, true
}
