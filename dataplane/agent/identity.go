// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// identityPeriod is how often a host says who it is: NLB's IdentityHeartbeatPeriod, default and minimum.
const identityPeriod = 10 * time.Second

// introduction is how soon a host says so to one that it just heard of.
const introduction = time.Second

// identify tells peers, and people who read a capture, which node this is, if that is due. Stopped hosts are silent.
func (m *member) identify() {
	now := filter.Now()
	if now < m.nextIdentity {
		return
	}
	m.nextIdentity = now + identityPeriod
	if s := m.out.View.State; s == convergence.StateStopped || s == convergence.StateSuspended {
		return
	}
	own := m.node.addresses()
	for _, i := range m.offered.Identities(own) {
		if err := m.node.conn.Send(i.AppendTo(nil)); err != nil {
			m.log.Debug("Identity not sent", "error", err)
		}
	}
}

// addresses returns the node's own addresses on the interface: at most one of each family, that of the primary virtual IP first.
func (n *node) addresses() []netip.Addr {
	var out []netip.Addr
	other := netip.IPv6Unspecified()
	if n.iface.Addr.Addr().Is6() {
		other = netip.IPv4Unspecified()
	}
	if n.iface.Addr.IsValid() {
		out = append(out, n.iface.Addr.Addr())
	}
	if found, err := hostnet.FindInterface(n.iface.Name, other); err == nil && found.Addr.IsValid() {
		out = append(out, found.Addr.Addr())
	}
	return out
}

// learn takes note of what a peer says of itself.
func (m *member) learn(ctx context.Context, i heartbeat.Identity) error {
	if i.ClusterKey != m.offered.ClusterKey() || i.HostKey == m.offered.HostKey() || !m.roster.note(i, filter.Now()) {
		return nil
	}
	m.nextIdentity = min(m.nextIdentity, filter.Now()+introduction)
	return m.step(ctx, convergence.Named{HostKey: i.HostKey, HostName: i.HostName})
}

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
