// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

var (
	vip4       = netip.MustParseAddr("10.77.0.100")
	vip6       = netip.MustParseAddr("fd00:77::100")
	clusterMAC = net.HardwareAddr{0x03, 0xbf, 10, 77, 0, 100}
	unicastMAC = net.HardwareAddr{0x02, 0xbf, 10, 77, 0, 100}
)

func find(t *testing.T, name string) Interface {
	t.Helper()
	i, err := FindInterface(name, vip4)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestFindInterface(t *testing.T) {
	nstest.Enter(t)
	wide, peer := nstest.Veth(t, "eth0", "x0")
	narrow, other := nstest.Veth(t, "eth1", "x1")
	nstest.Address(t, wide, "10.77.0.100/16") // the virtual IP itself is no subnet to find it by
	nstest.Address(t, wide, "10.77.0.2/16")
	nstest.Address(t, wide, "10.99.0.2/24")
	nstest.Address(t, narrow, "10.77.0.1/24")
	nstest.Address(t, peer, "10.77.0.100/32")
	nstest.Address(t, other, "192.0.2.1/24")

	for name, tc := range map[string]struct {
		iface, vip, want, addr string
	}{
		"longest subnet":                  {"", "10.77.0.100", "eth1", "10.77.0.1/24"},
		"outside the longest subnet":      {"", "10.77.9.9", "eth0", "10.77.0.100/16"},
		"named":                           {"eth0", "10.77.0.100", "eth0", "10.77.0.2/16"},
		"named, address not the first":    {"eth0", "10.99.0.7", "eth0", "10.99.0.2/24"},
		"named, no subnet that holds it":  {"x1", "10.77.0.100", "x1", "192.0.2.1/24"},
		"named, no address of the family": {"eth1", "2001:db8::1", "eth1", "invalid Prefix"},
	} {
		got, err := FindInterface(tc.iface, netip.MustParseAddr(tc.vip))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Name != tc.want || got.Addr.String() != tc.addr {
			t.Errorf("%s: %s with %s, want %s with %s", name, got.Name, got.Addr, tc.want, tc.addr)
		}
	}
	got := find(t, "eth1")
	want := Interface{Index: narrow.Attrs().Index, Name: "eth1", MTU: 1500, MAC: narrow.Attrs().HardwareAddr,
		Addr: netip.MustParsePrefix("10.77.0.1/24")}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("interface (-want +got):\n%s", diff)
	}
}

func TestFindInterfaceSaysWhyNot(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "eth0", "eth1")
	nstest.Address(t, a, "10.77.0.1/24")
	nstest.Address(t, b, "10.77.0.2/24")
	for name, tc := range map[string]struct {
		iface, vip string
		is         error
		says       []string
	}{
		"two fit":   {"", "10.77.0.100", ErrAmbiguous, []string{"eth0", "eth1"}},
		"none fits": {"", "192.0.2.7", ErrNoInterface, []string{"192.0.2.7", "eth0 10.77.0.1/24"}},
		"no such":   {"eth9", "10.77.0.100", ErrNoInterface, []string{"eth9"}},
		"lo":        {"lo", "10.77.0.100", ErrNoInterface, []string{"lo"}},
	} {
		_, err := FindInterface(tc.iface, netip.MustParseAddr(tc.vip))
		if !errors.Is(err, tc.is) {
			t.Errorf("%s: error %v, want %v", name, err, tc.is)
			continue
		}
		for _, s := range tc.says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: error %q does not name %s", name, err, s)
			}
		}
	}
}

func onLo(t *testing.T) []string {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := netlink.AddrList(lo, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, a := range addrs {
		if s := a.IPNet.String(); s != "127.0.0.1/8" && s != "::1/128" {
			out = append(out, s)
		}
	}
	return out
}

func TestVIPs(t *testing.T) {
	nstest.Enter(t)
	vips := []netip.Addr{vip4, vip6}
	for range 2 { // the second time is an agent that was restarted
		if err := addVIPs(t.Context(), vips); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"10.77.0.100/32", "fd00:77::100/128"}, onLo(t)); diff != "" {
		t.Errorf("addresses on lo (-want +got):\n%s", diff)
	}
	left, err := VIPs(t.Context())
	if err != nil || !cmp.Equal(left, vips, cmpopts.EquateComparable(netip.Addr{})) {
		t.Errorf("own addresses found again: %v, %v; want %v", left, err, vips)
	}
	for range 2 {
		if err := RemoveVIPs(t.Context(), vips); err != nil {
			t.Fatal(err)
		}
	}
	if got := onLo(t); len(got) > 0 {
		t.Errorf("left on lo: %v", got)
	}
}

func TestForeignAddressStays(t *testing.T) {
	nstest.Enter(t)
	lo := nstest.Up(t, "lo")
	nstest.Address(t, lo, "10.77.0.100/32")
	nstest.Address(t, lo, "fd00:77::100/128")
	vips := []netip.Addr{vip4, vip6}
	if err := addVIPs(t.Context(), vips); err != nil {
		t.Fatal(err)
	}
	if own, err := VIPs(t.Context()); err != nil || len(own) > 0 {
		t.Errorf("takes %v for its own, error %v", own, err)
	}
	if err := RemoveVIPs(t.Context(), vips); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"10.77.0.100/32", "fd00:77::100/128"}, onLo(t)); diff != "" {
		t.Errorf("addresses on lo (-want +got):\n%s", diff)
	}
}

// With the virtual IP on lo and no other address the node must not send as the virtual IP on its own account.
func TestVIPIsNoSourceAddress(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	nstest.Address(t, eth, "10.77.0.1/24")
	nstest.Address(t, eth, "fd00:77::1/64")
	if err := addVIPs(t.Context(), []netip.Addr{vip4, vip6}); err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]string{"10.77.0.9": "10.77.0.1", "fd00:77::9": "fd00:77::1"} {
		// fd00:77::1 is tentative at first.
		nstest.Wait(t, fmt.Sprintf("source %s towards %s", want, dst), func() bool {
			routes, err := netlink.RouteGet(net.ParseIP(dst))
			return err == nil && routes[0].Src.String() == want
		})
	}
}

func TestGroup(t *testing.T) {
	for name, test := range map[string]struct{ group, table, entry string }{
		"IGMP": {"239.255.0.100", "/proc/thread-self/net/igmp", "6400FFEF"},
		"MLD":  {"ff15::bf:64", "/proc/thread-self/net/igmp6", "ff150000000000000000000000bf0064"},
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Enter(t)
			nstest.Veth(t, "eth0", "x0")
			eth0, group := find(t, "eth0"), netip.MustParseAddr(test.group)
			joined := func() bool {
				table, err := os.ReadFile(test.table)
				if err != nil {
					t.Fatal(err)
				}
				return strings.Contains(string(table), test.entry)
			}
			for range 2 {
				if err := addGroup(eth0, group); err != nil {
					t.Fatal(err)
				}
			}
			if !joined() {
				t.Error("group is not joined")
			}
			for range 2 {
				if err := removeGroup(eth0, group); err != nil {
					t.Fatal(err)
				}
			}
			if joined() {
				t.Error("group is still joined")
			}
			if err := addGroup(eth0, vip4); err == nil {
				t.Error("joined a unicast address")
			}
		})
	}
}

// An interface that was set down and up again is a member of its groups, and joining them anew is no error.
func TestGroupSurvivesDown(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	for group, mac := range map[string]net.HardwareAddr{
		"239.255.0.100": {1, 0, 0x5e, 0x7f, 0, 100},
		"ff15::bf:64":   {0x33, 0x33, 0, 0xbf, 0, 100},
	} {
		if err := addGroup(eth0, netip.MustParseAddr(group)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(netlink.LinkSetDown(eth), netlink.LinkSetUp(eth)); err != nil {
			t.Fatal(err)
		}
		if err := addGroup(eth0, netip.MustParseAddr(group)); err != nil {
			t.Errorf("after the interface was down: %v", err)
		}
		if got := multicastUses(t, eth0, mac); got != "1 uses, 0 global" {
			t.Errorf("%s: %s, want one", group, got)
		}
	}
}

// multicastUses returns how often the interface counts a multicast address.
func multicastUses(t *testing.T, iface Interface, mac net.HardwareAddr) string {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^%d\s+%s\s+(\d+)\s+(\d+)\s+%s$`, iface.Index, iface.Name,
		hex.EncodeToString(mac)))
	m := line.FindSubmatch(table)
	if m == nil {
		return "none"
	}
	return fmt.Sprintf("%s uses, %s global", m[1], m[2])
}

func TestMulticastFilterCountsOnce(t *testing.T) {
	nstest.Enter(t)
	nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	for range 3 {
		if _, err := addMACFilter(eth0, clusterMAC); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := multicastUses(t, eth0, clusterMAC), "1 uses, 1 global"; got != want {
		t.Errorf("after three additions: %s, want %s", got, want)
	}
	for range 2 {
		if err := removeMACFilter(eth0, clusterMAC); err != nil {
			t.Fatal(err)
		}
	}
	if got := multicastUses(t, eth0, clusterMAC); got != "none" {
		t.Errorf("after removal: %s, want none", got)
	}
}

// The heartbeat socket's own membership must survive, whichever of the two ends first.
func TestMulticastFilterLeavesSocketsAlone(t *testing.T) {
	nstest.Enter(t)
	nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	membership := &unix.PacketMreq{Ifindex: int32(eth0.Index), Type: unix.PACKET_MR_MULTICAST, Alen: 6}
	copy(membership.Address[:], clusterMAC)
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, membership); err != nil {
		t.Fatal(err)
	}
	if err := removeMACFilter(eth0, clusterMAC); err != nil {
		t.Fatal(err)
	}
	if _, err := addMACFilter(eth0, clusterMAC); err != nil {
		t.Fatal(err)
	}
	if got, want := multicastUses(t, eth0, clusterMAC), "2 uses, 1 global"; got != want {
		t.Errorf("beside a socket: %s, want %s", got, want)
	}
	if err := removeMACFilter(eth0, clusterMAC); err != nil {
		t.Fatal(err)
	}
	if got, want := multicastUses(t, eth0, clusterMAC), "1 uses, 0 global"; got != want {
		t.Errorf("after removal: %s, want %s", got, want)
	}
}

func TestUnicastFilter(t *testing.T) {
	nstest.Enter(t)
	nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	entries := func() int {
		list, err := netlink.NeighList(eth0.Index, unix.AF_BRIDGE)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range list {
			if bytes.Equal(e.HardwareAddr, unicastMAC) {
				n++
			}
		}
		return n
	}
	for range 2 {
		if _, err := addMACFilter(eth0, unicastMAC); err != nil {
			t.Fatal(err)
		}
	}
	if n := entries(); n != 1 {
		t.Errorf("%d entries for %s, want 1", n, unicastMAC)
	}
	for range 2 {
		if err := removeMACFilter(eth0, unicastMAC); err != nil {
			t.Fatal(err)
		}
	}
	if n := entries(); n != 0 {
		t.Errorf("%d entries left", n)
	}
}

func TestRemoveFromInterfaceThatIsGone(t *testing.T) {
	nstest.Enter(t)
	a, _ := nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	if err := netlink.LinkDel(a); err != nil {
		t.Fatal(err)
	}
	for _, mac := range []net.HardwareAddr{clusterMAC, unicastMAC} {
		if err := removeMACFilter(eth0, mac); err != nil {
			t.Error(err)
		}
	}
	if err := removeGroup(eth0, netip.MustParseAddr("239.255.0.100")); err != nil {
		t.Error(err)
	}
}

// neighbour waits until the kernel at the other end has a neighbour entry with the MAC.
func neighbour(t *testing.T, link netlink.Link, ip netip.Addr, mac net.HardwareAddr) {
	t.Helper()
	nstest.Wait(t, fmt.Sprintf("neighbour %s at %s", ip, mac), func() bool {
		list, err := netlink.NeighList(link.Attrs().Index, family(ip))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(list, func(n netlink.Neigh) bool {
			return n.IP.Equal(ip.AsSlice()) && bytes.Equal(n.HardwareAddr, mac)
		})
	})
}

// A neighbour that knows an old MAC takes the cluster MAC from the announcement.
func TestAnnounceMovesNeighbour(t *testing.T) {
	nstest.Enter(t)
	_, peer := nstest.Veth(t, "eth0", "x0")
	nstest.Address(t, peer, "10.77.0.9/24")
	nstest.Address(t, peer, "fd00:77::9/64")
	eth0, mac := find(t, "eth0"), clusterMAC
	for _, vip := range []netip.Addr{vip4, vip6} {
		old := &netlink.Neigh{LinkIndex: peer.Attrs().Index, IP: vip.AsSlice(), State: netlink.NUD_STALE,
			HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
		if err := netlink.NeighSet(old); err != nil {
			t.Fatal(err)
		}
		if err := Announce(eth0, vip, mac); err != nil {
			t.Fatal(err)
		}
		neighbour(t, peer, vip, mac)
	}
}

func TestAnnouncementsOnTheWire(t *testing.T) {
	src := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	request := gratuitousARP(src, clusterMAC, vip4, 1, make(net.HardwareAddr, 6))
	want := "ffffffffffff" + "020000000001" + "0806" + "0001080006040001" + "03bf0a4d0064" + "0a4d0064" + "000000000000" +
		"0a4d0064"
	if got := hex.EncodeToString(request); got != want {
		t.Errorf("ARP announcement\n got %s\nwant %s", got, want)
	}
	na := unsolicitedNA(src, clusterMAC, vip6)
	if !bytes.Equal(na[6:12], src) {
		t.Errorf("source MAC %s, want %s", net.HardwareAddr(na[6:12]), src)
	}
	var from, to [16]byte
	copy(from[:], na[22:38])
	copy(to[:], na[38:54])
	if sum := checksum6(from, to, 58, na[54:]); sum != 0 {
		t.Errorf("checksum over the whole message leaves %#04x, want 0", sum)
	}
}

func TestAnnounceRefusesClusterMACAsSource(t *testing.T) {
	err := Announce(Interface{Name: "eth0", Index: 1, MAC: clusterMAC}, vip4, clusterMAC)
	if err == nil || !strings.Contains(err.Error(), "eth0") {
		t.Errorf("error %v, want one that names eth0", err)
	}
}
