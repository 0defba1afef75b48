// SPDX-License-Identifier: Apache-2.0

package host

import (
	"net/netip"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// rosterSize bounds what a flood of invented names costs.
const rosterSize = 2 * heartbeat.MaxHosts

// roster is what peers said of themselves, by their host keys.
type roster map[uint32]*entry

type entry struct {
	name    string
	addrs   []netip.Addr // the node's own, the newest last
	heardAt time.Duration
}

// note takes an identity and reports whether the name is news. The longest silent host makes way for a new one.
func (r roster) note(i heartbeat.Identity, now time.Duration) bool {
	e := r[i.HostKey]
	isNew := e == nil
	if isNew {
		if len(r) >= rosterSize {
			delete(r, r.quietest())
		}
		e = &entry{}
		r[i.HostKey] = e
	}
	isNew = isNew || e.name != i.HostName
	e.name, e.heardAt = i.HostName, now
	if i.Virtual {
		return isNew
	}
	sameFamily := func(a netip.Addr) bool { return a.Is4() == i.Addr.Is4() }
	if at := slices.IndexFunc(e.addrs, sameFamily); at >= 0 {
		e.addrs[at] = i.Addr
	} else {
		e.addrs = append(e.addrs, i.Addr)
	}
	return isNew
}

// quietest returns the key of the host that was heard the longest time ago.
func (r roster) quietest() uint32 {
	var key uint32
	oldest := time.Duration(1<<63 - 1)
	for k, e := range r {
		if e.heardAt < oldest {
			key, oldest = k, e.heardAt
		}
	}
	return key
}

// peers returns who the hosts in the view are, by host ID. A peer that did not say so yet has no name.
func (r roster) peers(view *convergence.View, self uint8) []words.Peer {
	var out []words.Peer
	for id := uint8(1); id <= heartbeat.MaxHosts; id++ {
		if id == self || !view.Heard.Has(id) {
			continue
		}
		peer := words.Peer{HostID: int32(id)}
		if e := r[view.Keys[id]]; e != nil {
			peer.NodeName, peer.Addresses = e.name, addresses(e.addrs)
		}
		out = append(out, peer)
	}
	return out
}
