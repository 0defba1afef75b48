// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

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
		{HostID: 1, NodeName: "node-a", Addresses: []string{"10.77.0.9", "fd77::1"}},
		{HostID: 3, NodeName: "node-C", Addresses: []string{"10.77.0.3"}},
		{HostID: 4},
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
