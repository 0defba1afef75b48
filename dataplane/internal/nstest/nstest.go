// SPDX-License-Identifier: Apache-2.0

// Package nstest gives a test a network namespace of its own.
package nstest

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// RequireRoot skips the test where network namespaces cannot be made, and fails it where
// the environment says CI=true: there a skip would hide that nothing was tested.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs root to make network namespaces, and CI=true allows no skip")
	}
	t.Skip("needs root to make network namespaces")
}

// Enter puts the calling goroutine into a new network namespace with lo up, until the test ends.
// The goroutine stays locked to its thread, so subtests and goroutines that the test starts are outside.
func Enter(t testing.TB) {
	t.Helper()
	RequireRoot(t)
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		t.Fatalf("get network namespace: %v", err)
	}
	inside, err := netns.New()
	if err != nil {
		t.Fatalf("make network namespace: %v", err)
	}
	t.Cleanup(func() {
		_ = inside.Close()
		if err := netns.Set(before); err != nil {
			// The thread must not return to the pool in the wrong namespace: it stays locked and ends with the goroutine.
			t.Errorf("leave network namespace: %v", err)
			return
		}
		_ = before.Close()
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatalf("find lo: %v", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		t.Fatalf("set lo up: %v", err)
	}
}

// Veth makes a pair of connected interfaces, both up and with carrier, in the namespace the goroutine is in.
func Veth(t testing.TB, name, peer string) (netlink.Link, netlink.Link) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer}); err != nil {
		t.Fatalf("add veth %s-%s: %v", name, peer, err)
	}
	Up(t, name)
	Up(t, peer)
	return WaitOperational(t, name), WaitOperational(t, peer)
}

// WaitOperational waits until an interface has carrier and returns it. Before that the kernel
// drops what is sent without a word: the queueing discipline is still noop.
func WaitOperational(t testing.TB, name string) netlink.Link {
	t.Helper()
	for range 250 {
		link, err := netlink.LinkByName(name)
		if err == nil && link.Attrs().OperState == netlink.OperUp {
			return link
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s does not come up", name)
	return nil
}

// Up sets an interface up and returns it.
func Up(t testing.TB, name string) netlink.Link {
	t.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("find %s: %v", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		t.Fatalf("set %s up: %v", name, err)
	}
	return link
}

// Address adds an address such as 10.0.0.1/24 to an interface.
func Address(t testing.TB, link netlink.Link, cidr string) {
	t.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatalf("parse %s: %v", cidr, err)
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		t.Fatalf("add %s to %s: %v", cidr, link.Attrs().Name, err)
	}
}
