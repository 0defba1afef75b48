// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"net"
	"net/netip"
	"os"
	"regexp"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

// The group of fd00:77::100 is ff02::1:ff00:100.
var solicitedMAC = net.HardwareAddr{0x33, 0x33, 0xff, 0, 1, 0}

func TestSolicitedNodes(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	eth0 := find(t, "eth0")
	vips := []netip.Addr{vip4, vip6}
	wants := func(when, want string) {
		t.Helper()
		if got := multicastUses(t, eth0, solicitedMAC); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := addVIPs(t.Context(), vips); err != nil {
		t.Fatal(err)
	}
	wants("with the virtual IP on lo alone", "none")
	for range 2 { // the second time is an agent that was restarted
		must(joinSolicitedNodes(eth0, vips))
	}
	wants("joined", "1 uses, 0 global")

	// Others that need the group keep it: an address of the node's own with the same last three octets.
	nstest.Address(t, eth, "fd00:78::100/64")
	nstest.Wait(t, "the kernel to join for it, too", func() bool {
		table, err := os.ReadFile("/proc/thread-self/net/igmp6")
		must(err)
		return regexp.MustCompile(`eth0\s+ff0200000000000000000001ff000100\s+2\s`).Match(table)
	})
	for range 2 {
		must(leaveSolicitedNodes(eth0, vips))
	}
	wants("left, beside an address of the same group", "1 uses, 0 global")
	addr, err := netlink.ParseAddr("fd00:78::100/64")
	must(err)
	must(netlink.AddrDel(eth, addr))
	wants("left", "none")

	must(joinSolicitedNodes(eth0, vips))
	must(netlink.LinkSetDown(eth))
	must(netlink.LinkSetUp(eth))
	must(joinSolicitedNodes(eth0, vips))
	nstest.Wait(t, "the group after the interface was down",
		func() bool { return multicastUses(t, eth0, solicitedMAC) != "none" })
}

// A proxy entry that somebody else made is not ours to remove.
func TestSolicitedNodesLeaveOthersEntries(t *testing.T) {
	nstest.Enter(t)
	eth, _ := nstest.Veth(t, "eth0", "x0")
	eth0, vips := find(t, "eth0"), []netip.Addr{vip6}
	foreign := &netlink.Neigh{LinkIndex: eth.Attrs().Index, Family: unix.AF_INET6, Flags: netlink.NTF_PROXY,
		IP: vip6.AsSlice()}
	if err := netlink.NeighAdd(foreign); err != nil {
		t.Fatal(err)
	}
	if err := joinSolicitedNodes(eth0, vips); err != nil {
		t.Fatal(err)
	}
	if err := leaveSolicitedNodes(eth0, vips); err != nil {
		t.Fatal(err)
	}
	if got, want := multicastUses(t, eth0, solicitedMAC), "1 uses, 0 global"; got != want {
		t.Errorf("after leaving beside a foreign entry: %s, want %s", got, want)
	}
	if err := netlink.LinkDel(eth); err != nil {
		t.Fatal(err)
	}
	if err := leaveSolicitedNodes(eth0, vips); err != nil {
		t.Errorf("on an interface that is gone: %v", err)
	}
}
