// SPDX-License-Identifier: Apache-2.0

package words

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// MACs are the MAC addresses that a cluster with one primary virtual IP has in each mode.
type MACs struct {
	// Address is the primary virtual IP.
	Address string `json:"address"`
	// Unicast, Multicast and IGMPMulticast are written as WLBS did, for instance 02-bf-ac-12-00-64.
	Unicast       string `json:"unicast"`
	Multicast     string `json:"multicast"`
	IGMPMulticast string `json:"igmpMulticast"`
	// InForce is the mode of the cluster that was asked for, "" when only an address was given.
	InForce v1alpha1.Mode `json:"inForce,omitempty"`
}

// MACsOf returns the MAC addresses of a primary virtual IP in the three modes.
func MACsOf(primary netip.Addr, inForce v1alpha1.Mode) MACs {
	return MACs{
		Address:       primary.String(),
		Unicast:       MAC(v1alpha1.ClusterMAC(v1alpha1.ModeUnicast, primary)),
		Multicast:     MAC(v1alpha1.ClusterMAC(v1alpha1.ModeMulticast, primary)),
		IGMPMulticast: MAC(v1alpha1.ClusterMAC(v1alpha1.ModeIGMPMulticast, primary)),
		InForce:       inForce,
	}
}

// WriteIP2MAC prints what "wlbs ip2mac" did: the MAC address of each mode. An arrow is at the mode in force.
func WriteIP2MAC(w io.Writer, m MACs) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %s\n", "Cluster:", m.Address)
	for _, line := range []struct {
		name, mac string
		mode      v1alpha1.Mode
	}{
		{"Unicast MAC:", m.Unicast, v1alpha1.ModeUnicast},
		{"Multicast MAC:", m.Multicast, v1alpha1.ModeMulticast},
		{"IGMP Multicast MAC:", m.IGMPMulticast, v1alpha1.ModeIGMPMulticast},
	} {
		fmt.Fprintf(&b, "%-20s %s", line.name, line.mac)
		if line.mode == m.InForce {
			b.WriteString("  <- in force")
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// MAC writes an address as WLBS did: lower case, with hyphens.
func MAC(mac net.HardwareAddr) string { return strings.ReplaceAll(mac.String(), ":", "-") }
