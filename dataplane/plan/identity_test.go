// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

func addrs(of ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range of {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestIdentitiesNameEveryAddress(t *testing.T) {
	for name, test := range map[string]struct {
		vips, own, want []string
		clusterIP       [4]byte
	}{
		"IPv4":       {[]string{"10.77.0.100", "10.77.0.101"}, []string{"10.77.0.2"}, []string{"10.77.0.2", "virtual 10.77.0.100"}, [4]byte{10, 77, 0, 100}},
		"dual stack": {[]string{"10.77.0.100", "fd77::100"}, []string{"10.77.0.2", "fd77::2"}, []string{"10.77.0.2", "fd77::2", "virtual 10.77.0.100", "virtual fd77::100"}, [4]byte{10, 77, 0, 100}},
		"IPv6":       {[]string{"fd77::100"}, []string{"fd77::2", "10.77.0.2"}, []string{"fd77::2", "10.77.0.2", "virtual fd77::100"}, [4]byte{}},
	} {
		p := mustPlan(t, config(func(c *v1alpha1.LoadBalancingClusterSpec, _ *v1alpha1.LoadBalancingHostSpec) {
			c.VirtualIPs, c.PortRules = test.vips, nil
		}))
		var got []string
		for _, i := range p.Identities(addrs(test.own...)) {
			decoded, err := heartbeat.UnmarshalIdentity(i.AppendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			if decoded.HostName != "node-b" || decoded.HostID != 2 || decoded.ClusterIP != test.clusterIP || decoded.HostIP != [4]byte{10, 77, 0, 2} ||
				decoded.HostKey != p.HostKey() || decoded.ClusterKey != p.ClusterKey() {
				t.Errorf("%s: %+v", name, decoded)
			}
			got = append(got, map[bool]string{true: "virtual "}[decoded.Virtual]+decoded.Addr.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
