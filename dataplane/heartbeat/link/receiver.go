// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
)

// Receiver hears the heartbeats on one interface, of whatever cluster: heartbeat.ClusterOf tells. Frames to a multicast
// address arrive only while a Conn, or somebody else, makes the interface hear it.
type Receiver struct {
	conn *packet.Conn
	raw  rawControl
	name string
	buf  [receiveBuffer]byte
}

// Listen opens a receiver on the interface of the given index.
func Listen(ctx context.Context, ifindex int) (*Receiver, error) {
	program, err := bpf.Assemble(forThisHost)
	if err != nil {
		return nil, fmt.Errorf("packet filter of heartbeats: %w", err)
	}
	conn, name, err := listen(ctx, ifindex, heartbeat.EtherType, &packet.Config{Filter: program})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("packet socket on %s: %w", name, err)
	}
	return &Receiver{conn: conn, raw: raw, name: name}, nil
}

// forThisHost is a socket filter. The kernel gives the socket frames of its EtherType only, and looks for that behind a
// VLAN tag too; what is meant for a VLAN, or for another host on an interface in promiscuous mode, it marks as of other
// hosts.
var forThisHost = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
	bpf.RetConstant{Val: receiveBuffer},
	bpf.RetConstant{Val: 0},
}

// Receive waits for a payload from another host, until ctx ends. The payload is valid until the next call.
func (r *Receiver) Receive(ctx context.Context) (payload []byte, src net.HardwareAddr, err error) {
	if err := r.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, nil, fmt.Errorf("receive heartbeat on %s: %w", r.name, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	for {
		n, from, err := r.conn.ReadFrom(r.buf[:])
		if err != nil {
			if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, nil, ctxErr
			}
			return nil, nil, fmt.Errorf("receive heartbeat on %s: %w", r.name, downOr(err))
		}
		addr, ok := from.(*packet.Addr)
		if !ok || r.own(addr.HardwareAddr) {
			continue
		}
		return r.buf[:n], bytes.Clone(addr.HardwareAddr), nil
	}
}

// own reports whether a frame came back from the network to its sender, as some bonds and hubs do.
// The socket's name is the interface's address of this moment, not that of when it was bound.
func (r *Receiver) own(src net.HardwareAddr) bool {
	var name unix.Sockaddr
	var nameErr error
	err := r.raw.Control(func(fd uintptr) { name, nameErr = unix.Getsockname(int(fd)) })
	if errors.Join(err, nameErr) != nil {
		return false
	}
	ll, ok := name.(*unix.SockaddrLinklayer)
	return ok && bytes.Equal(ll.Addr[:ll.Halen], src)
}

// Close closes the socket; a Receive under way returns an error.
func (r *Receiver) Close() error {
	if err := r.conn.Close(); err != nil {
		return fmt.Errorf("close packet socket on %s: %w", r.name, err)
	}
	return nil
}
