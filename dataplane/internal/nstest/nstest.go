// SPDX-License-Identifier: Apache-2.0

// Package nstest gives a test a network namespace of its own.
package nstest

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// RequireRoot skips the test where network namespaces cannot be made, and fails it where
// the environment says CI=true: there a skip would hide that nothing was tested.
func RequireRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		tb.Fatal("needs root to make network namespaces, and CI=true allows no skip")
	}
	tb.Skip("needs root to make network namespaces")
}

// Enter puts the calling goroutine into a new network namespace with lo up, until the test ends.
// The goroutine stays locked to its thread, so subtests and goroutines that the test starts are outside.
func Enter(tb testing.TB) {
	tb.Helper()
	RequireRoot(tb)
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		tb.Fatalf("get network namespace: %v", err)
	}
	inside, err := netns.New()
	if err != nil {
		tb.Fatalf("make network namespace: %v", err)
	}
	tb.Cleanup(func() {
		_ = inside.Close()
		if err := netns.Set(before); err != nil {
			// The thread must not return to the pool in the wrong namespace: it stays locked and ends with the goroutine.
			tb.Errorf("leave network namespace: %v", err)
			return
		}
		_ = before.Close()
		runtime.UnlockOSThread()
	})
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		tb.Fatalf("find lo: %v", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		tb.Fatalf("set lo up: %v", err)
	}
}

// Veth makes a pair of connected interfaces, both up and with carrier, in the namespace the goroutine is in.
func Veth(tb testing.TB, name, peer string) (netlink.Link, netlink.Link) {
	tb.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer}); err != nil {
		tb.Fatalf("add veth %s-%s: %v", name, peer, err)
	}
	Up(tb, name)
	Up(tb, peer)
	return WaitOperational(tb, name), WaitOperational(tb, peer)
}

// WaitOperational waits until an interface has carrier and returns it. Before that the kernel
// drops what is sent without a word: the queueing discipline is still noop.
func WaitOperational(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	var link netlink.Link
	Wait(tb, name+" to come up", func() bool {
		var err error
		link, err = netlink.LinkByName(name)
		return err == nil && link.Attrs().OperState == netlink.OperUp
	})
	return link
}

// Wait waits until a condition holds, and fails the test if it does not within five seconds.
func Wait(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 5*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-ctx.Done():
			tb.Fatalf("waited in vain for %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Up sets an interface up and returns it.
func Up(tb testing.TB, name string) netlink.Link {
	tb.Helper()
	link, err := netlink.LinkByName(name)
	if err != nil {
		tb.Fatalf("find %s: %v", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		tb.Fatalf("set %s up: %v", name, err)
	}
	return link
}

// Address adds an address such as 10.0.0.1/24 to an interface.
func Address(tb testing.TB, link netlink.Link, cidr string) {
	tb.Helper()
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		tb.Fatalf("parse %s: %v", cidr, err)
	}
	if err := netlink.AddrAdd(link, addr); err != nil {
		tb.Fatalf("add %s to %s: %v", cidr, link.Attrs().Name, err)
	}
}
