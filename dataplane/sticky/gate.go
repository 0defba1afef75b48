// SPDX-License-Identifier: Apache-2.0

package sticky

import (
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// Gate keeps buckets that a host gained shut for new clients until it knows whom other hosts hold.
type Gate struct {
	given bucket.Table
	shut  bucket.Table
	since time.Duration
}

// Outcome is what Pass decided.
type Outcome struct {
	// Accept are the buckets that are open.
	Accept bucket.Table
	// Waiting says that some are shut, Failed that some were opened without knowing.
	Waiting, Failed bool
}

// Pass takes the buckets that are the host's, and which slots have extended affinity. synced says that the lists of all
// other members are known, as they were when those had released what they lost. It waits no longer than limit.
func (g *Gate) Pass(given bucket.Table, slots []int, synced bool, now, limit time.Duration) Outcome {
	var shut bucket.Table
	waiting := false
	for _, i := range slots {
		shut[i] = given[i] & (g.shut[i] | given[i].Minus(g.given[i]))
		waiting = waiting || shut[i] != 0
	}
	if waiting && g.shut == (bucket.Table{}) {
		g.since = now
	}
	g.given = given
	failed := waiting && !synced && now >= g.since+limit
	if synced || failed {
		shut, waiting = bucket.Table{}, false
	}
	g.shut = shut
	out := Outcome{Accept: given, Waiting: waiting, Failed: failed}
	for i := range shut {
		out.Accept[i] = given[i].Minus(shut[i])
	}
	return out
}

// Until is when Pass opens the gate whatever is known.
func (g *Gate) Until(limit time.Duration) time.Duration {
	if g.shut == (bucket.Table{}) {
		return never
	}
	return g.since + limit
}

// Keep says that the buckets were the host's before: the agent goes on where another one stopped.
func (g *Gate) Keep(given bucket.Table) { g.given = given }
