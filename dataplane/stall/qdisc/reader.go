// SPDX-License-Identifier: Apache-2.0

// Package qdisc reads what the transmit queues of an interface hold and have sent, for package stall.
package qdisc

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

// lookEvery is how many reads share one look at which devices and disciplines there are. It bounds how long a new
// discipline below others, or on another device below the interface, is not seen: for 5 s at four reads in a second.
const lookEvery = 20

// Reader reads the transmit leaves of an interface and of those below it: the ports of a bond or bridge and the parent
// of a VLAN or macvlan have the queues, the interface on top has none. A read must be cheap on a node with thousands of
// interfaces: between looks at all disciplines, the kernel is asked for the leaves alone. A Reader is not safe for
// concurrent use.
type Reader struct {
	conn    *conn
	ifindex int
	trees   []tree
	reads   int // since the last look
}

// tree is what was seen on one device.
type tree struct {
	device
	qdiscs []node
	// classful says that there may be classes that count.
	classful bool
}

// errChanged says that another discipline is where one was seen.
var errChanged = errors.New("queueing disciplines changed")

// Open returns a reader for the interface of the given index in the network namespace of the calling thread.
func Open(ifindex int) (*Reader, error) {
	c, err := dial()
	if err != nil {
		return nil, fmt.Errorf("transmit queues of interface %d: %w", ifindex, err)
	}
	return &Reader{conn: c, ifindex: ifindex}, nil
}

// Close closes the reader.
func (r *Reader) Close() { r.conn.socket.Close() }

// Read returns the leaves as they are now.
func (r *Reader) Read() ([]stall.Leaf, error) {
	out, err := r.read()
	if err != nil {
		r.trees = nil
		return nil, fmt.Errorf("transmit queues of interface %d: %w", r.ifindex, err)
	}
	return out, nil
}

func (r *Reader) read() ([]stall.Leaf, error) {
	r.reads++
	if r.trees != nil && r.reads < lookEvery {
		out, err := r.sample(false)
		if !errors.Is(err, errChanged) {
			return out, err
		}
	}
	if err := r.look(); err != nil {
		return nil, err
	}
	return r.sample(true)
}

// look finds the devices that have queues, and their disciplines.
func (r *Reader) look() error {
	devices, err := r.conn.lowest(r.ifindex)
	if err != nil {
		return err
	}
	on, err := r.conn.qdiscs(devices)
	if err != nil {
		return err
	}
	r.trees, r.reads = nil, 0
	for _, d := range devices {
		t := tree{device: d, qdiscs: on[d.index]}
		queueing := 0
		for i := range t.qdiscs {
			if t.qdiscs[i].queues() {
				queueing++
			}
		}
		if queueing == 0 && d.index != r.ifindex {
			continue
		}
		if t.classful, err = r.classful(&d, queueing); err != nil {
			return err
		}
		r.trees = append(r.trees, t)
	}
	return nil
}

// classful reports whether a device with so many disciplines that hold packets may have classes that count. The classes
// of fq_codel, which most devices have, are many and do not.
func (r *Reader) classful(d *device, queueing int) (bool, error) {
	if queueing != 1 {
		return queueing > 1, nil
	}
	classes, err := r.conn.classes(d)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(classes, func(c node) bool { return c.counts }), nil
}

// sample reads the leaves of the devices that were seen. fresh says that the disciplines were read just now.
func (r *Reader) sample(fresh bool) ([]stall.Leaf, error) {
	var out []stall.Leaf
	for i := range r.trees {
		t := &r.trees[i]
		if !fresh {
			if err := r.update(t, t.root()); err != nil {
				return nil, err
			}
		}
		var classes []node
		if t.classful {
			var err error
			if classes, err = r.conn.classes(&t.device); err != nil {
				return nil, err
			}
		}
		for _, n := range leaves(t.name, t.qdiscs, classes) {
			if !n.class && !fresh && !n.root() {
				if err := r.update(t, &n); err != nil {
					return nil, err
				}
			}
			out = append(out, n.leaf)
		}
	}
	return out, nil
}

// root returns the discipline at the root of the device. One that is down has none that the kernel tells of.
func (t *tree) root() *node {
	for i := range t.qdiscs {
		if t.qdiscs[i].root() {
			return &t.qdiscs[i]
		}
	}
	return &node{parent: netlink.HANDLE_ROOT}
}

// update reads the statistics of a discipline. It returns errChanged if another one is in its place.
func (r *Reader) update(t *tree, n *node) error {
	now, err := r.conn.qdisc(t.index, n)
	if errors.Is(err, unix.ENOENT) && n.kind == "" {
		return nil // still none
	}
	for _, gone := range []error{unix.ENOENT, unix.ENODEV, unix.EINVAL} {
		if errors.Is(err, gone) {
			return errChanged
		}
	}
	if err != nil {
		return fmt.Errorf("discipline %s of %s: %w", n.kind, t.name, err)
	}
	if now.kind != n.kind || now.handle != n.handle {
		return errChanged
	}
	now.leaf.Name = n.leaf.Name
	n.leaf = now.leaf
	return nil
}
