// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"net"
	"net/netip"
	"testing"
)

// The IPv4 rows are those of Microsoft's "ip2mac".
func TestClusterMACAndGroup(t *testing.T) {
	for _, test := range []struct {
		mode          Mode
		primary       string
		mac, groupWas string
	}{
		{ModeUnicast, "172.18.0.100", "02:bf:ac:12:00:64", ""},
		{ModeMulticast, "172.18.0.100", "03:bf:ac:12:00:64", ""},
		{ModeIGMPMulticast, "172.18.0.100", "01:00:5e:7f:00:64", "239.255.0.100"},
		{ModeIGMPMulticast, "10.0.255.254", "01:00:5e:7f:ff:fe", "239.255.255.254"},
		{ModeUnicast, "fd00:172:18::100", "02:bf:00:00:01:00", ""},
		{ModeIGMPMulticast, "fd00:172:18::1234", "33:33:00:bf:12:34", "ff15::bf:1234"},
	} {
		primary := netip.MustParseAddr(test.primary)
		mac, group := ClusterMAC(test.mode, primary), ClusterGroup(test.mode, primary)
		if mac.String() != test.mac {
			t.Errorf("ClusterMAC(%s, %s) = %s, want %s", test.mode, primary, mac, test.mac)
		}
		if test.groupWas == "" {
			if group.IsValid() {
				t.Errorf("ClusterGroup(%s, %s) = %s, want none", test.mode, primary, group)
			}
			continue
		}
		if group.String() != test.groupWas {
			t.Errorf("ClusterGroup(%s, %s) = %s, want %s", test.mode, primary, group, test.groupWas)
		}
		if mapped := groupMAC(group); mapped.String() != mac.String() {
			t.Errorf("group %s maps to %s, the cluster MAC is %s: switches would send frames elsewhere", group, mapped, mac)
		}
	}
}

// groupMAC maps a multicast group to its MAC address by RFC 1112 section 6.4 and RFC 2464 section 7.
func groupMAC(group netip.Addr) net.HardwareAddr {
	b := group.AsSlice()
	if group.Is4() {
		return net.HardwareAddr{0x01, 0x00, 0x5e, b[1] & 0x7f, b[2], b[3]}
	}
	return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
}
