// SPDX-License-Identifier: Apache-2.0

package host

import "fmt"

// tableRoom is the share of the connection table that must be free before it counts as having room again: 1/tableRoom.
const tableRoom = 10

// tableWatch reports whether the table of tracked connections is full. It is from the first connection that found no
// room, and no longer when a tenth of it is free and no connection went untracked since the last look.
type tableWatch struct {
	size uint32
	full bool

	began     bool
	untracked uint64 // at the last look
	base      uint64 // before the table became full
}

// observe takes the number of tracked connections, and how many were ever accepted untracked. It reports whether the
// verdict changed.
func (w *tableWatch) observe(connections int, untracked uint64) (changed bool) {
	grew := w.began && untracked > w.untracked
	before := w.full
	switch {
	case grew || connections >= int(w.size):
		if !w.full {
			w.base = untracked
			if grew {
				w.base = w.untracked
			}
		}
		w.full = true
	case connections <= int(w.size-w.size/tableRoom):
		w.full = false
	}
	w.began, w.untracked = true, untracked
	return w.full != before
}

// message has the number of untracked connections in powers of ten: each change of it is a write to the API server, and
// an Event.
func (w *tableWatch) message() string {
	untracked := "no connection was"
	if n := w.untracked - w.base; n > 0 {
		rounded := uint64(1)
		for rounded <= n/10 {
			rounded *= 10
		}
		untracked = fmt.Sprintf("at least %d new connections were", rounded)
	}
	return fmt.Sprintf("all %d entries of the connection table are in use; %s accepted untracked since, which breaks them if their "+
		"bucket moves to another host; raise spec.dataplane.maxConnections, or see why so many connections are open", w.size,
		untracked)
}
