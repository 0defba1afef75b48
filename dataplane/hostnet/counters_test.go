// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

// Either end of a veth pair loses its carrier when the other one is down.
func TestReadLink(t *testing.T) {
	nstest.Enter(t)
	inside, outside := nstest.Veth(t, "eth0", "x0")
	index := inside.Attrs().Index
	for _, step := range []struct {
		what string
		do   func() error
		want bool
	}{
		{"both ends up", func() error { return nil }, true},
		{"the other end down", func() error { return netlink.LinkSetDown(outside) }, false},
		{"the other end up again", func() error { return netlink.LinkSetUp(outside) }, true},
		{"this end down", func() error { return netlink.LinkSetDown(inside) }, false},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		l, err := ReadLink(index)
		if err != nil {
			t.Fatal(err)
		}
		if l.Running != step.want {
			t.Errorf("%s: running %t", step.what, l.Running)
		}
	}
	if _, err := ReadLink(index + 1000); err == nil {
		t.Error("no error for an interface that is not there")
	}
}
