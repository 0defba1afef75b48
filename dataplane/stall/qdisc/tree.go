// SPDX-License-Identifier: Apache-2.0

package qdisc

import (
	"fmt"

	"github.com/vishvananda/netlink"

	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

// node is a queueing discipline or a class.
type node struct {
	handle, parent uint32
	kind           string
	// class tells a class from a discipline.
	class bool
	// counts is false where the kernel says nothing of what was sent: the classes of fq_codel and sfq, for one,
	// are flows of the moment.
	counts bool
	leaf   stall.Leaf
}

// queues reports whether a discipline can hold packets that are to be sent.
func (n *node) queues() bool { return n.kind != "noqueue" && n.kind != "ingress" && n.kind != "clsact" }

func (n *node) root() bool { return n.parent == netlink.HANDLE_ROOT }

// leaves picks the nodes that hold packets themselves and have no other below them. HTB shows why classes count:
// one of them holds a backlog for ever while the discipline and the device go on sending for the others.
// A discipline below a class has the same packets as the class and is left out, unless it has classes itself.
func leaves(dev string, qdiscs, classes []node) []node {
	var out []node
	classified := map[uint32]bool{} // major numbers of disciplines whose classes count
	for _, c := range classes {
		if c.counts {
			classified[major(c.handle)] = true
		}
	}
	for _, c := range classes {
		if c.counts && !hasBelow(c, qdiscs, classes, classified) {
			c.leaf.Name = className(dev, c, qdiscs)
			out = append(out, c)
		}
	}
	for _, q := range qdiscs {
		if !q.queues() {
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
		out = append(out, q)
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
		if q.handle != 0 && other.handle != q.handle && other.parent != netlink.HANDLE_ROOT &&
			major(other.parent) == q.handle {
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
