// SPDX-License-Identifier: Apache-2.0

// Package link carries heartbeats over Ethernet interfaces.
//
// On each interface one Receiver hears the heartbeats of all clusters, and a Conn for each cluster sends that
// cluster's. Both are AF_PACKET sockets of type SOCK_DGRAM: the kernel writes the Ethernet header with the interface's
// own address as source, so that the cluster MAC never appears as one, also if the interface's address changes.
package link

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

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

// Conn sends the heartbeats of one cluster to one group address on one interface. Clusters have sockets of their own to
// send by, so that none takes the room in the queue that another one needs. A Conn is not safe for concurrent use.
type Conn struct {
	conn  *packet.Conn
	raw   rawControl
	name  string
	index int
	dst   net.HardwareAddr
}

// rawControl is the part of syscall.RawConn that is needed here.
type rawControl interface {
	Control(func(fd uintptr)) error
}

// Open opens a connection on the interface of the given index. dst is where heartbeats go: the broadcast address, or a
// multicast address, which the interface hears for the connection's lifetime. Several connections may have the same
// address: the kernel counts them, and the interface hears it until the last one is closed.
func Open(ctx context.Context, ifindex int, dst net.HardwareAddr) (*Conn, error) {
	if len(dst) != 6 || dst[0]&1 == 0 {
		return nil, fmt.Errorf("heartbeat destination %q is no Ethernet group address", dst)
	}
	conn, name, err := listen(ctx, ifindex, sendOnly, nil)
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, name: name, index: ifindex, dst: bytes.Clone(dst)}
	if err := c.configure(); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// sendOnly as the protocol of a packet socket makes the kernel queue no frames in it.
const sendOnly = 0

// listen opens a packet socket for an EtherType on an Ethernet interface, and returns the interface's name too.
func listen(ctx context.Context, ifindex, etherType int, config *packet.Config) (*packet.Conn, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	ifi, err := net.InterfaceByIndex(ifindex)
	if err != nil {
		return nil, "", fmt.Errorf("find interface %d: %w", ifindex, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, "", fmt.Errorf("interface %s is no Ethernet interface", ifi.Name)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, etherType, config)
	if err != nil {
		return nil, "", fmt.Errorf("open packet socket on %s: %w", ifi.Name, err)
	}
	return conn, ifi.Name, nil
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

// Close closes the socket. The interface no longer hears the group for it.
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
