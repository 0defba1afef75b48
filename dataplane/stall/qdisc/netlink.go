// SPDX-License-Identifier: Apache-2.0

package qdisc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// answerTimeout bounds the wait for the kernel's answer.
const answerTimeout = 10 * time.Second

// conn asks the kernel by one netlink socket.
type conn struct {
	socket  *nl.NetlinkSocket
	sockets map[int]*nl.SocketHandle
}

func dial() (*conn, error) {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	timeout := unix.NsecToTimeval(answerTimeout.Nanoseconds())
	if err := errors.Join(socket.SetSendTimeout(&timeout), socket.SetReceiveTimeout(&timeout)); err != nil {
		socket.Close()
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return &conn{socket: socket, sockets: map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: socket}}}, nil
}

func (c *conn) request(kind, flags int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(kind, flags)
	req.Sockets = c.sockets
	return req
}

// link asks for one interface.
func (c *conn) link(ifindex int) (device, error) {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(ifindex)
	links, err := c.links(0, msg)
	if err == nil && len(links) == 0 {
		err = unix.ENODEV
	}
	if err != nil {
		return device{}, err
	}
	return links[0], nil
}

// ports lists the interfaces below a bond, bridge or the like; the kernel picks them.
func (c *conn) ports(master int) ([]device, error) {
	return c.links(unix.NLM_F_DUMP, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
}

func (c *conn) links(flags int, data ...nl.NetlinkRequestData) ([]device, error) {
	const skipStatistics = 1 << 3 // RTEXT_FILTER_SKIP_STATS
	msgs, err := repeat(func() ([][]byte, error) {
		req := c.request(unix.RTM_GETLINK, flags)
		for _, d := range data {
			req.AddData(d)
		}
		req.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(skipStatistics)))
		return req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	var out []device
	for _, m := range msgs {
		out = append(out, parseLink(m))
	}
	return out, err
}

func parseLink(message []byte) device {
	native := binary.NativeEndian
	d := device{index: int(nl.DeserializeIfInfomsg(message).Index)}
	for kind, value := range attributes(message[unix.SizeofIfInfomsg:]) {
		switch {
		case kind == unix.IFLA_IFNAME:
			d.name = unix.ByteSliceToString(value)
		case kind == unix.IFLA_LINK && len(value) >= 4:
			d.parent = int(native.Uint32(value))
		case kind == unix.IFLA_LINK_NETNSID:
			d.foreignParent = true
		case kind == unix.IFLA_LINKINFO:
			for kind, value := range attributes(value) {
				if kind == nl.IFLA_INFO_KIND {
					d.kind = unix.ByteSliceToString(value)
				}
			}
		}
	}
	return d
}

// attributes goes through attributes without copying them: there are dozens with each of a thousand interfaces.
func attributes(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&nl.NLA_TYPE_MASK, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min((size+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
		}
	}
}

// qdiscs lists the disciplines of the devices. The kernel dumps those of all interfaces.
func (c *conn) qdiscs(devices []device) (map[int][]node, error) {
	on := map[int][]node{}
	for i := range devices {
		on[devices[i].index] = nil
	}
	err := c.dump(unix.RTM_GETQDISC, unix.RTM_NEWQDISC, 0, func(ifindex int, m []byte) {
		if _, wanted := on[ifindex]; wanted {
			on[ifindex] = append(on[ifindex], parse(m))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list queueing disciplines: %w", err)
	}
	return on, nil
}

// classes lists the classes of an interface.
func (c *conn) classes(d *device) ([]node, error) {
	var out []node
	err := c.dump(unix.RTM_GETTCLASS, unix.RTM_NEWTCLASS, d.index, func(_ int, m []byte) {
		n := parse(m)
		n.class = true
		out = append(out, n)
	})
	if err != nil {
		return nil, fmt.Errorf("list classes of %s: %w", d.name, err)
	}
	return out, nil
}

func (c *conn) dump(request int, reply uint16, ifindex int, each func(ifindex int, message []byte)) error {
	msgs, err := repeat(func() ([][]byte, error) {
		req := c.request(request, unix.NLM_F_DUMP)
		req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(ifindex)})
		return req.Execute(unix.NETLINK_ROUTE, reply)
	})
	for _, m := range msgs {
		each(int(nl.DeserializeTcMsg(m).Ifindex), m)
	}
	return err
}

// qdisc asks for one discipline of an interface by its place and its handle. The kernel answers by a notification to
// all who listen to traffic control; the asker gets it with NLM_F_ECHO only. It says nothing of the discipline of an
// interface that is down and has no other, which is why there is an acknowledgement to wait for: the error is ENOENT
// then, as for all there is not.
func (c *conn) qdisc(ifindex int, which *node) (node, error) {
	msg := &nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(ifindex), Parent: which.parent, Handle: which.handle}
	req := c.request(unix.RTM_GETQDISC, unix.NLM_F_ECHO|unix.NLM_F_ACK)
	req.AddData(msg)
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	switch {
	case err != nil:
		return node{}, err
	case len(msgs) == 0:
		return node{}, unix.ENOENT
	default:
		return parse(msgs[0]), nil
	}
}

// repeat repeats a dump that a change interrupted. The last one is taken as it is.
func repeat(dump func() ([][]byte, error)) ([][]byte, error) {
	const attempts = 5
	var msgs [][]byte
	var err error
	for range attempts {
		if msgs, err = dump(); !errors.Is(err, nl.ErrDumpInterrupted) {
			return msgs, err
		}
	}
	return msgs, nil
}

// parse reads a discipline or a class with its statistics.
func parse(message []byte) node {
	msg := nl.DeserializeTcMsg(message)
	n := node{handle: msg.Handle, parent: msg.Parent}
	for kind, value := range attributes(message[msg.Len():]) {
		switch kind {
		case nl.TCA_KIND:
			n.kind = unix.ByteSliceToString(value)
		case nl.TCA_STATS2:
			for kind, value := range attributes(value) {
				n.statistics(kind, value)
			}
		}
	}
	return n
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
