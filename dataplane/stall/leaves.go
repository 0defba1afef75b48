// SPDX-License-Identifier: Apache-2.0

package stall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ReadLeaves returns the transmit leaves of an interface and of those below it: the ports of a bond or
// bridge and the parent of a VLAN or macvlan have the queues, the interface on top has none.
// It acts in the network namespace of the calling thread.
func ReadLeaves(ifindex int) ([]Leaf, error) {
	links, err := lowest(ifindex)
	if err != nil {
		return nil, err
	}
	qdiscs, err := dump(unix.RTM_GETQDISC, unix.RTM_NEWQDISC, 0, func(i int) bool {
		return slices.ContainsFunc(links, func(d device) bool { return d.index == i })
	})
	if err != nil {
		return nil, fmt.Errorf("list queueing disciplines: %w", err)
	}
	var out []Leaf
	for _, link := range links {
		own := on(link.index, qdiscs)
		if len(own) == 0 {
			continue
		}
		classes, err := dump(unix.RTM_GETTCLASS, unix.RTM_NEWTCLASS, link.index, func(i int) bool { return i == link.index })
		if err != nil {
			return nil, fmt.Errorf("list classes of %s: %w", link.name, err)
		}
		out = append(out, leaves(link.name, own, classes)...)
	}
	return out, nil
}

// device names an interface.
type device struct {
	index int
	name  string
}

// lowest returns the interface and all below it. A veth's link is its peer and not below it.
func lowest(ifindex int) ([]device, error) {
	top, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("find interface %d: %w", ifindex, err)
	}
	if !stacked(top) {
		return []device{{ifindex, top.Attrs().Name}}, nil
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	byIndex := map[int]netlink.Link{}
	ports := map[int][]int{}
	for _, l := range links {
		byIndex[l.Attrs().Index] = l
		if master := l.Attrs().MasterIndex; master != 0 {
			ports[master] = append(ports[master], l.Attrs().Index)
		}
	}
	var out []device
	seen := map[int]bool{}
	for todo := []int{ifindex}; len(todo) > 0; todo = todo[1:] {
		link := byIndex[todo[0]]
		if link == nil || seen[todo[0]] {
			continue
		}
		seen[todo[0]] = true
		attrs := link.Attrs()
		out = append(out, device{attrs.Index, attrs.Name})
		todo = append(todo, ports[attrs.Index]...)
		if hasParent(link) {
			todo = append(todo, attrs.ParentIndex)
		}
	}
	return out, nil
}

// stacked reports whether other interfaces may be below one. A node with hundreds of pods has as many interfaces,
// and samples are taken several times a second: they are not listed for nothing.
func stacked(link netlink.Link) bool {
	switch link.Type() {
	case "bond", "bridge", "team", "vrf":
		return true
	}
	return hasParent(link)
}

func hasParent(link netlink.Link) bool {
	switch link.Type() {
	case "vlan", "macvlan", "ipvlan":
		return link.Attrs().NetNsID < 0 // else the parent is in another namespace
	}
	return false
}

// node is a queueing discipline or a class.
type node struct {
	ifindex        int
	handle, parent uint32
	kind           string
	// counts is false where the kernel says nothing of what was sent: the classes of fq_codel and sfq, for one,
	// are flows of the moment.
	counts bool
	leaf   Leaf
}

func on(ifindex int, all []node) []node {
	var out []node
	for _, n := range all {
		if n.ifindex == ifindex {
			out = append(out, n)
		}
	}
	return out
}

// leaves picks the nodes that hold packets themselves and have no other below them. HTB shows why classes count:
// one of them holds a backlog for ever while the discipline and the device go on sending for the others.
// A discipline below a class has the same packets as the class and is left out, unless it has classes itself.
func leaves(dev string, qdiscs, classes []node) []Leaf {
	var out []Leaf
	classified := map[uint32]bool{} // major numbers of disciplines whose classes count
	for _, c := range classes {
		if c.counts {
			classified[major(c.handle)] = true
		}
	}
	for _, c := range classes {
		if c.counts && !hasBelow(c, qdiscs, classes, classified) {
			c.leaf.Name = className(dev, c, qdiscs)
			out = append(out, c.leaf)
		}
	}
	for _, q := range qdiscs {
		if q.kind == "noqueue" || q.kind == "ingress" || q.kind == "clsact" {
			continue
		}
		// The disciplines that the kernel put on the queues of a multi-queue device have handle 0, as their root has.
		if classified[q.handle] && (q.handle != 0 || q.parent == netlink.HANDLE_ROOT) {
			continue
		}
		if hasCounting(q.parent, classes) || hasQdiscBelow(q, qdiscs) {
			continue
		}
		q.leaf.Name = qdiscName(dev, q)
		out = append(out, q.leaf)
	}
	return out
}

// hasBelow reports whether a class has classes below it, directly or in a discipline of its own.
func hasBelow(c node, qdiscs, classes []node, classified map[uint32]bool) bool {
	for _, other := range classes {
		if other.counts && other.parent == c.handle {
			return true
		}
	}
	for _, q := range qdiscs {
		if q.parent == c.handle && q.handle != 0 && classified[q.handle] {
			return true
		}
	}
	return false
}

func hasCounting(handle uint32, classes []node) bool {
	for _, c := range classes {
		if c.handle == handle && c.counts {
			return true
		}
	}
	return false
}

func hasQdiscBelow(q node, qdiscs []node) bool {
	for _, other := range qdiscs {
		if q.handle != 0 && other.handle != q.handle && other.parent != netlink.HANDLE_ROOT && major(other.parent) == q.handle {
			return true
		}
	}
	return false
}

func major(handle uint32) uint32 { return handle & 0xffff0000 }

func className(dev string, c node, qdiscs []node) string {
	for _, q := range qdiscs {
		if q.handle == major(c.handle) && (q.kind == "mq" || q.kind == "mqprio") {
			return fmt.Sprintf("transmit queue %d (%s)", c.handle&0xffff-1, dev)
		}
	}
	return fmt.Sprintf("class %x:%x (%s)", c.handle>>16, c.handle&0xffff, dev)
}

func qdiscName(dev string, q node) string {
	if q.handle == 0 && q.parent != netlink.HANDLE_ROOT {
		return fmt.Sprintf("qdisc %s in %x:%x (%s)", q.kind, q.parent>>16, q.parent&0xffff, dev)
	}
	return fmt.Sprintf("qdisc %s %x: (%s)", q.kind, q.handle>>16, dev)
}

// dump lists disciplines or classes with their statistics, and repeats a dump that a change interrupted. The kernel
// dumps the disciplines of all interfaces; only those to keep are parsed.
func dump(request int, reply uint16, ifindex int, keep func(ifindex int) bool) ([]node, error) {
	const attempts = 5
	var msgs [][]byte
	var err error
	for range attempts {
		req := nl.NewNetlinkRequest(request, unix.NLM_F_DUMP)
		req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(ifindex)})
		if msgs, err = req.Execute(unix.NETLINK_ROUTE, reply); !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	var out []node
	for _, m := range msgs {
		msg := nl.DeserializeTcMsg(m)
		if !keep(int(msg.Ifindex)) {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[msg.Len():])
		if err != nil {
			return nil, err
		}
		n := node{ifindex: int(msg.Ifindex), handle: msg.Handle, parent: msg.Parent}
		if err := n.parse(attrs); err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

func (n *node) parse(attrs []syscall.NetlinkRouteAttr) error {
	for _, attr := range attrs {
		switch attr.Attr.Type {
		case nl.TCA_KIND:
			n.kind = unix.ByteSliceToString(attr.Value)
		case nl.TCA_STATS2:
			nested, err := nl.ParseRouteAttr(attr.Value)
			if err != nil {
				return err
			}
			for _, s := range nested {
				n.statistics(s.Attr.Type, s.Value)
			}
		}
	}
	return nil
}

// statistics reads struct gnet_stats_basic, gnet_stats_queue and the 64-bit packet count of kernel 5.5.
func (n *node) statistics(kind uint16, v []byte) {
	native := binary.NativeEndian
	switch {
	case kind == nl.TCA_STATS_BASIC && len(v) >= 12:
		n.counts = true
		n.leaf.Sent = max(n.leaf.Sent, uint64(native.Uint32(v[8:])))
	case kind == nl.TCA_STATS_PKT64 && len(v) >= 8:
		n.leaf.Sent = native.Uint64(v)
	case kind == nl.TCA_STATS_QUEUE && len(v) >= 12:
		n.leaf.Packets = uint64(native.Uint32(v))
		n.leaf.Bytes = uint64(native.Uint32(v[4:]))
		n.leaf.Dropped = uint64(native.Uint32(v[8:]))
	}
}
