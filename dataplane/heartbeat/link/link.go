// SPDX-License-Identifier: Apache-2.0

// Package link carries heartbeats over one Ethernet interface.
//
// The socket is an AF_PACKET one of type SOCK_DGRAM: the kernel writes the Ethernet header with the
// interface's own address as source, so that the cluster MAC never appears as one, also if the
// interface's address changes.
package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

const (
	// priority is TC_PRIO_CONTROL: priority queues serve heartbeats before the traffic that they speak of.
	priority = 7
	// sendBuffer bounds what waits in a queueing discipline that stands still, in bytes (the kernel
	// doubles it): about seven heartbeats. When the queue moves again, peers then get few old ones.
	sendBuffer = 8 << 10
	// receiveBuffer holds more than a heartbeat, so that a longer payload is seen as too long.
	receiveBuffer = 2048
)

// ErrQueueFull says that heartbeats sent before still wait in the interface's transmit queue, and
// that this one was dropped.
var ErrQueueFull = errors.New("transmit queue is full")

// ErrDown says that the interface is down. The connection works again when it comes up, unless the
// interface was removed.
var ErrDown = errors.New("interface is down")

// Conn sends heartbeats to one group address on one interface and receives those of others. Send may be
// called by one goroutine while another is in Receive.
type Conn struct {
	conn  *packet.Conn
	raw   rawControl
	name  string
	index int
	dst   net.HardwareAddr
	buf   [receiveBuffer]byte
}

// rawControl is the part of syscall.RawConn that Send needs.
type rawControl interface {
	Control(func(fd uintptr)) error
}

// Open opens a connection on the interface of the given index. dst is where heartbeats go: the
// broadcast address, or a multicast address, which the connection joins for its lifetime.
func Open(ctx context.Context, ifindex int, dst net.HardwareAddr) (*Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(dst) != 6 || dst[0]&1 == 0 {
		return nil, fmt.Errorf("heartbeat destination %q is no Ethernet group address", dst)
	}
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("find interface %d: %w", ifindex, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s is no Ethernet interface", ifi.Name)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, heartbeat.EtherType, nil)
	if err != nil {
		return nil, fmt.Errorf("open packet socket on %s: %w", ifi.Name, err)
	}
	c := &Conn{conn: conn, name: ifi.Name, index: ifindex, dst: bytes.Clone(dst)}
	if err := c.configure(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Conn) configure() error {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("packet socket on %s: %w", c.name, err)
	}
	c.raw = raw
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, priority),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer),
		)
	})
	if err := errors.Join(err, optErr); err != nil {
		return fmt.Errorf("set options of packet socket on %s: %w", c.name, err)
	}
	if isBroadcast(c.dst) {
		return nil
	}
	if err := c.conn.JoinGroup(c.dst); err != nil {
		return fmt.Errorf("join %s on %s: %w", c.dst, c.name, err)
	}
	return nil
}

// Send broadcasts one payload. It never waits: if the interface's queue holds earlier heartbeats it
// returns ErrQueueFull, and a host whose queue stands still altogether falls silent, as it should.
func (c *Conn) Send(payload []byte) error {
	addr := &unix.SockaddrLinklayer{Protocol: htons(heartbeat.EtherType), Ifindex: c.index, Halen: 6}
	copy(addr.Addr[:], c.dst)
	var sendErr error
	err := c.raw.Control(func(fd uintptr) {
		sendErr = unix.Sendto(int(fd), payload, unix.MSG_DONTWAIT, addr)
	})
	if err == nil {
		err = sendErr
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("send heartbeat on %s: %w", c.name, ErrQueueFull)
	case errors.Is(err, unix.EMSGSIZE):
		return fmt.Errorf("send heartbeat on %s: %w", c.name, c.tooLong(len(payload), err))
	default:
		return fmt.Errorf("send heartbeat on %s: %w", c.name, downOr(err))
	}
}

// tooLong turns EMSGSIZE into the numbers, if the interface is still there to be asked.
func (c *Conn) tooLong(need int, err error) error {
	req, reqErr := unix.NewIfreq(c.name)
	if reqErr != nil {
		return err
	}
	var ioctlErr error
	ctlErr := c.raw.Control(func(fd uintptr) { ioctlErr = unix.IoctlIfreq(int(fd), unix.SIOCGIFMTU, req) })
	if errors.Join(ctlErr, ioctlErr) != nil {
		return err
	}
	if mtuErr := CheckMTU(c.name, int(req.Uint32()), need); mtuErr != nil {
		return mtuErr
	}
	return err
}

// Receive waits for a payload from another host, until ctx ends. The payload is valid until the next call.
func (c *Conn) Receive(ctx context.Context) (payload []byte, src net.HardwareAddr, err error) {
	if err := c.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, nil, fmt.Errorf("receive heartbeat on %s: %w", c.name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		n, from, err := c.conn.ReadFrom(c.buf[:])
		if err != nil {
			if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, nil, ctxErr
			}
			return nil, nil, fmt.Errorf("receive heartbeat on %s: %w", c.name, downOr(err))
		}
		addr, ok := from.(*packet.Addr)
		if !ok || c.own(addr.HardwareAddr) {
			continue
		}
		return c.buf[:n], bytes.Clone(addr.HardwareAddr), nil
	}
}

// own reports whether a frame came back from the network to its sender, as some bonds and hubs do.
// The socket's name is the interface's address of this moment, not that of when it was bound.
func (c *Conn) own(src net.HardwareAddr) bool {
	var name unix.Sockaddr
	var nameErr error
	err := c.raw.Control(func(fd uintptr) { name, nameErr = unix.Getsockname(int(fd)) })
	if errors.Join(err, nameErr) != nil {
		return false
	}
	ll, ok := name.(*unix.SockaddrLinklayer)
	return ok && bytes.Equal(ll.Addr[:ll.Halen], src)
}

// Close leaves the group and closes the socket; a Receive under way returns an error.
func (c *Conn) Close() error {
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("close packet socket on %s: %w", c.name, err)
	}
	return nil
}

func downOr(err error) error {
	if errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("%w: %w", ErrDown, err)
	}
	return err
}

func isBroadcast(a net.HardwareAddr) bool {
	return bytes.Equal(a, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
}

// htons returns v as the kernel's __be16 reads it.
func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}
