// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
)

// maxNameLength is the length of a Kubernetes object's name (RFC 1123 subdomain).
const maxNameLength = 253

// HostObjectName is the name of the LoadBalancingHost of a node: <cluster>.<node>. A cluster's name has no dot, so no
// two pairs share a name. Node names may be 253 characters long by themselves; where the result would be too long,
// the node's part is cut and ends in "-" and 10 hexadecimal digits of the SHA-256 of the node's name.
func HostObjectName(cluster, node string) string {
	name := cluster + "." + node
	if len(name) <= maxNameLength {
		return name
	}
	sum := sha256.Sum256([]byte(node))
	suffix := "-" + hex.EncodeToString(sum[:5])
	return trimToAlphanumeric(name[:maxNameLength-len(suffix)]) + suffix
}

// trimToAlphanumeric keeps "-" from following a dot, which a name must not have.
func trimToAlphanumeric(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '.' || s[len(s)-1] == '-') {
		s = s[:len(s)-1]
	}
	return s
}

// ClusterMAC is the MAC address that clients send frames for the virtual IPs to: 02-BF-w-x-y-z in Unicast, 03-BF-w-x-y-z
// in Multicast and 01-00-5E-7F-y-z in IGMPMulticast mode, where w.x.y.z is the primary virtual IP. WLBS knew IPv4 only:
// for an IPv6 primary virtual IP w-x-y-z are its last 4 bytes, and in IGMPMulticast mode the MAC is 33-33-00-BF-y-z, to
// which ClusterGroup maps. It is nil for an invalid address or mode.
func ClusterMAC(mode Mode, primary netip.Addr) net.HardwareAddr {
	if !primary.IsValid() {
		return nil
	}
	b := primary.Unmap().AsSlice()
	last := b[len(b)-4:]
	switch mode {
	case ModeUnicast:
		return net.HardwareAddr{0x02, 0xbf, last[0], last[1], last[2], last[3]}
	case ModeMulticast:
		return net.HardwareAddr{0x03, 0xbf, last[0], last[1], last[2], last[3]}
	case ModeIGMPMulticast:
		if primary.Is6() && !primary.Is4In6() {
			return net.HardwareAddr{0x33, 0x33, 0x00, 0xbf, last[2], last[3]}
		}
		return net.HardwareAddr{0x01, 0x00, 0x5e, 0x7f, last[2], last[3]}
	}
	return nil
}

// ClusterGroup is the multicast group that hosts join in IGMPMulticast mode, so that switches with IGMP or MLD snooping send
// frames for the cluster MAC to their ports and to no others: 239.255.y.z for the primary virtual IP w.x.y.z, as NLB does,
// and ff15::bf:yz for an IPv6 one. The cluster MAC is the one that the group maps to (RFC 1112 section 6.4, RFC 2464
// section 7). It is the zero Addr in the other modes.
func ClusterGroup(mode Mode, primary netip.Addr) netip.Addr {
	if mode != ModeIGMPMulticast || !primary.IsValid() {
		return netip.Addr{}
	}
	primary = primary.Unmap()
	b := primary.AsSlice()
	y, z := b[len(b)-2], b[len(b)-1]
	if primary.Is4() {
		return netip.AddrFrom4([4]byte{239, 255, y, z})
	}
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x15, 13: 0xbf, 14: y, 15: z})
}

// HostConfigOf returns the entry of a node in spec.hosts; where there is none, an entry with nothing but the name.
func (s *LoadBalancingClusterSpec) HostConfigOf(node string) HostConfig {
	for i := range s.Hosts {
		if s.Hosts[i].NodeName == node {
			return *s.Hosts[i].DeepCopy()
		}
	}
	return HostConfig{NodeName: node}
}

// DrainTimeoutOf returns the bound of a host's drains in seconds, its own or the cluster's; nil for none.
func (s *LoadBalancingClusterSpec) DrainTimeoutOf(host *HostConfig) *int32 {
	if host.DrainTimeoutSeconds != nil {
		return host.DrainTimeoutSeconds
	}
	return s.DrainTimeoutSeconds
}
