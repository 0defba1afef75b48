// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"testing"
	"time"
)

// connectionTimeout is below TCP's first repetition of a SYN, after a second: a packet that no host takes is a failure.
const connectionTimeout = 900 * time.Millisecond

// steady is load that is light enough for two cores and dense enough to see an outage of a tenth of a second.
func (c *vipCluster) steady() load {
	return load{target: c.target(), interval: 20 * time.Millisecond, timeout: connectionTimeout}
}

// patient is the same load by a client that waits as clients do: while buckets move from host to host, a SYN may find that
// its old host has let go and its new one has not taken over, for no two ever accept one. It is repeated after a second.
func (c *vipCluster) patient() load {
	l := c.steady()
	l.timeout = 5 * time.Second
	return l
}

// mustMoveSmoothly checks what clients saw of buckets that moved in order: no failed connection, and delayed ones for a
// moment only.
func mustMoveSmoothly(t *testing.T, attempts []attempt) {
	t.Helper()
	var late []attempt
	for _, a := range attempts {
		if a.took > connectionTimeout {
			late = append(late, a)
		}
	}
	window := time.Duration(0)
	if len(late) > 0 {
		window = late[len(late)-1].start.Sub(late[0].start)
	}
	t.Logf("%s; %d had to repeat a packet, within %s", summary(attempts), len(late), window.Round(time.Millisecond))
	mustNotFail(t, attempts)
}

// mustSpread makes connections, all of which must be answered, and checks that each of the nodes gets about its share,
// and no other node any.
func (c *vipCluster) mustSpread(t *testing.T, count int, nodes ...string) []attempt {
	t.Helper()
	// Nothing moves here: a bucket that no host serves also fails a client that waits, and a busy machine does not.
	attempts := burst(t, c.patient(), count, 8)
	t.Logf("%s: %s", c.name, summary(attempts))
	mustNotFail(t, attempts)
	counts := byNode(attempts)
	for _, node := range nodes {
		// Half of the share: with 300 connections on 3 nodes six standard deviations away from it.
		if share := count / len(nodes); counts[node] < share/2 || counts[node] > share*3/2 {
			t.Errorf("node %s answered %d of %d connections, its share is %d", node, counts[node], count, share)
		}
		delete(counts, node)
	}
	for node, n := range counts {
		t.Errorf("node %s answered %d connections, and is no member", node, n)
	}
	return attempts
}

// mustNotFail fails the test if one connection failed, or was not the client's own at the server.
func mustNotFail(t *testing.T, attempts []attempt) {
	t.Helper()
	if len(attempts) == 0 {
		t.Error("no connection was made")
	}
	if len(failures(attempts)) > 0 {
		t.Errorf("connections failed: %s\n%s", summary(attempts), stateOfObjects())
	}
	for _, a := range attempts {
		// The port may be another one where kube-proxy translates addresses, and one server stands behind several virtual IPs.
		if a.err == nil && a.seen.Addr() != a.local.Addr() {
			t.Errorf("the server sees the client %s as %s", a.local, a.seen)
			return
		}
	}
}
