// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseNetwork(t *testing.T) {
	tests := map[string]struct {
		text string
		want Network
	}{
		"podman": {
			text: `[{"name": "kind", "network_interface": "kind0", "subnets": [
				{"subnet": "10.89.0.0/16", "gateway": "10.89.0.1"},
				{"subnet": "fd00:10:89::/64", "gateway": "fd00:10:89::1"}]}]`,
			want: Network{
				Bridge:  "kind0",
				Subnet:  netip.MustParsePrefix("10.89.0.0/16"),
				Gateway: netip.MustParseAddr("10.89.0.1"),
				Subnet6: netip.MustParsePrefix("fd00:10:89::/64"),
			},
		},
		"docker": {
			text: `[{"Name": "kind", "Id": "0123456789abcdef0123", "IPAM": {"Config": [
				{"Subnet": "fc00:f853:ccd:e793::/64"},
				{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]}, "Options": {}}]`,
			want: Network{
				Bridge:  "br-0123456789ab",
				Subnet:  netip.MustParsePrefix("172.18.0.0/16"),
				Gateway: netip.MustParseAddr("172.18.0.1"),
				Subnet6: netip.MustParsePrefix("fc00:f853:ccd:e793::/64"),
			},
		},
		"no gateway named": {
			text: `[{"Id": "0123456789abcdef0123", "IPAM": {"Config": [{"Subnet": "172.19.0.0/16"}]},
				"Options": {"com.docker.network.bridge.name": "lan0"}}]`,
			want: Network{
				Bridge:  "lan0",
				Subnet:  netip.MustParsePrefix("172.19.0.0/16"),
				Gateway: netip.MustParseAddr("172.19.0.1"),
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseNetwork([]byte(test.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateComparable(Network{})); diff != "" {
				t.Errorf("network (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseNetworkRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":    `network not found`,
		"none":        `[]`,
		"IPv6 only":   `[{"subnets": [{"subnet": "fd00::/64"}]}]`,
		"no prefix":   `[{"subnets": [{"subnet": "10.0.0.0"}]}]`,
		"two of them": `[{"subnets": []}, {"subnets": []}]`,
	} {
		if n, err := parseNetwork([]byte(text)); err == nil {
			t.Errorf("%s: got %+v, want an error", name, n)
		}
	}
}

func TestVirtualIP(t *testing.T) {
	tests := []struct {
		subnet string
		index  int
		want   string
	}{
		{"172.18.0.0/16", 0, "172.18.255.100"},
		{"10.89.0.0/16", 99, "10.89.255.199"},
		{"192.168.7.0/24", 5, "192.168.7.105"},
		{"10.32.0.0/13", 0, "10.39.255.100"},
		{"192.168.7.0/25", 0, ""},
		{"172.18.0.0/16", 100, ""},
		{"172.18.0.0/16", -1, ""},
	}
	for _, test := range tests {
		got, err := Network{Subnet: netip.MustParsePrefix(test.subnet)}.VirtualIP(test.index)
		switch {
		case test.want == "" && err == nil:
			t.Errorf("virtual IP %d of %s is %s, want an error", test.index, test.subnet, got)
		case test.want != "" && err != nil:
			t.Errorf("virtual IP %d of %s: %v", test.index, test.subnet, err)
		case test.want != "" && got.String() != test.want:
			t.Errorf("virtual IP %d of %s is %s, want %s", test.index, test.subnet, got, test.want)
		}
	}
}
