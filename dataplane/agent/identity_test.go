// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
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
		p := mustPlan(t, desired(func(c *v1alpha1.LoadBalancingClusterSpec, _ *v1alpha1.LoadBalancingHostSpec) {
			c.VirtualIPs, c.PortRules = test.vips, nil
		}))
		var got []string
		for _, i := range p.identities(addrs(test.own...)) {
			decoded, err := heartbeat.UnmarshalIdentity(i.AppendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			if decoded.HostName != "node-b" || decoded.HostID != 2 || decoded.ClusterIP != test.clusterIP || decoded.HostIP != [4]byte{10, 77, 0, 2} ||
				decoded.HostKey != p.hostKey() || decoded.ClusterKey != p.clusterKey() {
				t.Errorf("%s: %+v", name, decoded)
			}
			got = append(got, map[bool]string{true: "virtual "}[decoded.Virtual]+decoded.Addr.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestRosterKeepsWhatPeersSay(t *testing.T) {
	r := roster{}
	say := func(key uint32, name, addr string, virtual bool) heartbeat.Identity {
		return heartbeat.Identity{HostKey: key, HostName: name, Addr: netip.MustParseAddr(addr), Virtual: virtual}
	}
	for i, step := range []struct {
		identity heartbeat.Identity
		isNew    bool
	}{
		{say(1, "node-a", "10.77.0.1", false), true},
		{say(1, "node-a", "fd77::1", false), false},
		{say(1, "node-a", "10.77.0.100", true), false},
		{say(1, "node-a", "10.77.0.9", false), false}, // it has another address now
		{say(3, "node-c", "10.77.0.3", false), true},
		{say(3, "node-C", "10.77.0.3", false), true},
	} {
		if got := r.note(step.identity, time.Duration(i)); got != step.isNew {
			t.Errorf("step %d: news %v", i, got)
		}
	}
	view := &convergence.View{Heard: heartbeat.SetOf(1, 2, 3, 4)}
	view.Keys[1], view.Keys[3], view.Keys[4] = 1, 3, 1004
	want := []words.Peer{
		{HostID: 1, NodeName: "node-a", Addresses: []string{"10.77.0.9", "fd77::1"}}, {HostID: 3, NodeName: "node-C", Addresses: []string{"10.77.0.3"}}, {HostID: 4},
	}
	if diff := cmp.Diff(want, r.peers(view, 2)); diff != "" {
		t.Errorf("peers (-want +got):\n%s", diff)
	}
	for i := range uint32(10 * rosterSize) {
		r.note(say(100+i, fmt.Sprintf("node-%d", i), "10.77.0.7", false), time.Hour+time.Duration(i))
	}
	if len(r) != rosterSize {
		t.Errorf("%d entries, want %d", len(r), rosterSize)
	}
}
