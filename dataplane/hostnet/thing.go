// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// kind says what a thing is. Things are set up in this order and taken away in the opposite one: the virtual IPs are on
// lo only while frames for them arrive.
type kind int

const (
	macFilter kind = iota
	group
	solicitedNode
	localAddress
)

// thing is one piece of what clusters need. Clusters that need equal things share one.
type thing struct {
	kind kind
	// ifindex is the index of the interface, 0 where that is lo. An interface may change its name.
	ifindex int
	// addr is the virtual IP or the multicast group, mac the address of a MAC filter.
	addr netip.Addr
	mac  [6]byte
}

func (t thing) String() string {
	switch t.kind {
	case macFilter:
		return fmt.Sprintf("MAC filter %s on interface %d", net.HardwareAddr(t.mac[:]), t.ifindex)
	case group:
		return fmt.Sprintf("group %s on interface %d", t.addr, t.ifindex)
	case solicitedNode:
		return fmt.Sprintf("solicited-node group of %s on interface %d", t.addr, t.ifindex)
	default:
		return fmt.Sprintf("virtual IP %s on lo", t.addr)
	}
}

// things returns all that is needed, each once.
func (n *Needs) things() []thing {
	var out []thing
	for _, vip := range n.VIPs {
		out = append(out, thing{kind: localAddress, addr: vip})
	}
	if n.Interface.Index == 0 {
		return union(out, nil)
	}
	for _, vip := range n.VIPs {
		if vip.Is6() && !vip.Is4In6() {
			out = append(out, thing{kind: solicitedNode, ifindex: n.Interface.Index, addr: vip})
		}
	}
	for _, mac := range n.MACs {
		t := thing{kind: macFilter, ifindex: n.Interface.Index}
		copy(t.mac[:], mac)
		out = append(out, t)
	}
	for _, g := range n.Groups {
		out = append(out, thing{kind: group, ifindex: n.Interface.Index, addr: g})
	}
	return union(out, nil)
}

// union returns the things of both lists, each once, in the order in which they are set up.
func union(a, b []thing) []thing {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(a, b thing) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.ifindex, b.ifindex), a.addr.Compare(b.addr),
			slices.Compare(a.mac[:], b.mac[:]))
	})
	return slices.Compact(all)
}

// batches splits sorted things into those of one kind and interface each.
func batches(things []thing) [][]thing {
	var out [][]thing
	for i, t := range things {
		if i == 0 || t.kind != things[i-1].kind || t.ifindex != things[i-1].ifindex {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], t)
	}
	return out
}
