// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

// inKernel says what of a cluster's needs the kernel has: which addresses are on lo, and how often eth0 counts the MAC
// addresses of the cluster, of its group and of the solicited-node group of vip6.
type inKernel struct {
	Lo                       []string
	Cluster, Group, Solicits string
}

var (
	mcastGroup = netip.MustParseAddr("239.255.0.100")
	groupMAC   = net.HardwareAddr{1, 0, 0x5e, 0x7f, 0, 100}
)

func lookIn(t *testing.T, iface Interface) inKernel {
	t.Helper()
	lo := onLo(t)
	slices.Sort(lo)
	return inKernel{
		Lo: lo, Cluster: multicastUses(t, iface, clusterMAC),
		Group: multicastUses(t, iface, groupMAC), Solicits: multicastUses(t, iface, solicitedMAC),
	}
}

func clusterNeeds(iface Interface, vips ...netip.Addr) Needs {
	return Needs{Interface: iface, VIPs: vips, MACs: []net.HardwareAddr{clusterMAC}, Groups: []netip.Addr{mcastGroup}}
}

// Two clusters have a virtual IP, the cluster MAC and the group in common. The one that ends leaves them to the other.
func TestClaimsInKernel(t *testing.T) {
	nstest.Enter(t)
	nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	other := netip.MustParseAddr("10.77.0.200")
	nothing := inKernel{Cluster: "none", Group: "none", Solicits: "none"}
	first := inKernel{
		Lo: []string{"10.77.0.100/32", "fd00:77::100/128"}, Cluster: "1 uses, 1 global",
		Group: "1 uses, 0 global", Solicits: "1 uses, 0 global",
	}
	both := first
	both.Lo = []string{"10.77.0.100/32", "10.77.0.200/32", "fd00:77::100/128"}
	second := first
	second.Lo = []string{"10.77.0.200/32", "fd00:77::100/128"}

	c := NewClaims()
	for _, step := range []struct {
		name string
		do   func() error
		want inKernel
	}{
		{"first wants", func() error { return c.Want(t.Context(), "first", clusterNeeds(eth0, vip4, vip6)) }, first},
		{"second wants", func() error { return c.Want(t.Context(), "second", clusterNeeds(eth0, other, vip6)) }, both},
		{"first wants again", func() error { return c.Want(t.Context(), "first", clusterNeeds(eth0, vip4, vip6)) }, both},
		{"first ends", func() error { return c.Drop(t.Context(), "first") }, second},
		{"another agent, registered", func() error {
			c = NewClaims()
			c.Register("second", clusterNeeds(eth0, other, vip6))
			return c.Want(t.Context(), "first", clusterNeeds(eth0, vip4, vip6))
		}, both},
		{"second ends", func() error { return c.Drop(t.Context(), "second") }, first},
		{"first ends too", func() error { return c.Drop(t.Context(), "first") }, nothing},
		{"ends twice", func() error { return c.Drop(t.Context(), "first") }, nothing},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if diff := cmp.Diff(step.want, lookIn(t, eth0)); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// What others took away comes back, and an interface that was renamed is the same one.
func TestWantPutsRight(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	eth0, c := find(t, "eth0"), NewClaims()
	needs := clusterNeeds(eth0, vip4, vip6)
	if err := c.Want(t.Context(), "web", needs); err != nil {
		t.Fatal(err)
	}
	want := lookIn(t, eth0)
	err := errors.Join(RemoveVIPs(t.Context(), []netip.Addr{vip4}), removeMACFilter(eth0, clusterMAC),
		removeGroup(eth0, mcastGroup),
		leaveSolicitedNodes(eth0, []netip.Addr{vip6}))
	if err != nil {
		t.Fatal(err)
	}
	if cmp.Equal(want, lookIn(t, eth0)) {
		t.Fatal("nothing was taken away")
	}
	if err := c.Want(t.Context(), "web", needs); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, lookIn(t, eth0)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := errors.Join(netlink.LinkSetDown(eth), netlink.LinkSetName(eth, "lan0"), netlink.LinkSetUp(eth)); err != nil {
		t.Fatal(err)
	}
	if err := c.Drop(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	left := lookIn(t, find(t, "lan0"))
	if left.Cluster != "none" || len(left.Lo) > 0 {
		t.Errorf("left on the renamed interface: %+v", left)
	}
}

func TestClaimsLeaveStrangersThings(t *testing.T) {
	for name, mac := range map[string]net.HardwareAddr{"multicast": clusterMAC, "unicast": unicastMAC} {
		t.Run(name, func(t *testing.T) {
			nstest.Enter(t)
			nstest.Veth(t, "eth0", "x0")
			eth0, c := find(t, "eth0"), NewClaims()
			needs := Needs{Interface: eth0, MACs: []net.HardwareAddr{mac}}
			if _, err := addMACFilter(eth0, mac); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(c.Want(t.Context(), "web", needs), c.Want(t.Context(), "web", needs),
				c.Drop(t.Context(), "web")); err != nil {
				t.Fatal(err)
			}
			if missing, err := addMACFilter(eth0, mac); missing || err != nil {
				t.Errorf("a stranger's filter was removed: missing %t, error %v", missing, err)
			}
			c.Register("web", needs) // an earlier agent made it
			if err := c.Drop(t.Context(), "web"); err != nil {
				t.Fatal(err)
			}
			if missing, err := addMACFilter(eth0, mac); !missing || err != nil {
				t.Errorf("an earlier agent's filter was left: missing %t, error %v", missing, err)
			}
		})
	}
}

// Each thing that cannot be set up is named, and the others are set up.
func TestClaimsErrors(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	eth0, c := find(t, "eth0"), NewClaims()
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := c.Want(t.Context(), "web", Needs{Interface: eth0, VIPs: []netip.Addr{vip4, vip6},
		MACs: []net.HardwareAddr{clusterMAC}})
	if err == nil || !strings.Contains(err.Error(), vip6.String()) || strings.Contains(err.Error(), vip4.String()) {
		t.Errorf("IPv6 disabled on lo: error %v, want one that names %s alone", err, vip6)
	}
	if got := lookIn(t, eth0); len(got.Lo) != 1 || got.Cluster == "none" {
		t.Errorf("set up %+v", got)
	}
	if err := netlink.LinkDel(eth); err != nil {
		t.Fatal(err)
	}
	err = c.Want(t.Context(), "web", clusterNeeds(eth0, vip4))
	if !errors.Is(err, ErrNoInterface) || !strings.Contains(err.Error(), clusterMAC.String()) ||
		!strings.Contains(err.Error(), mcastGroup.String()) {
		t.Errorf("interface gone: error %v, want ErrNoInterface for the MAC filter and the group", err)
	}
	if err := c.Drop(t.Context(), "web"); err != nil || len(onLo(t)) > 0 {
		t.Errorf("drop after the interface is gone: error %v, left %v", err, onLo(t))
	}
}

func TestLocalAddresses(t *testing.T) {
	nstest.Enter(t)
	eth, peer := nstest.Veth(t, "eth0", "x0")
	nstest.Address(t, eth, "10.77.0.1/24")
	nstest.Address(t, peer, "fd00:77::1/64")
	nstest.Address(t, nstest.Up(t, "lo"), "192.0.2.1/32")
	if err := NewClaims().Want(t.Context(), "web", clusterNeeds(find(t, "eth0"), vip4, vip6)); err != nil {
		t.Fatal(err)
	}
	own, err := LocalAddresses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"10.77.0.1": "eth0", "fd00:77::1": "x0", "192.0.2.1": "lo", "127.0.0.1": "lo", "10.77.0.2": "",
		vip4.String(): "", vip6.String(): "", mcastGroup.String(): "",
	} {
		if got := own[netip.MustParseAddr(addr)]; got != want {
			t.Errorf("%s is owned by %q, want %q", addr, got, want)
		}
	}
}
