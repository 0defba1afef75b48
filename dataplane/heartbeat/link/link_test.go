// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

var (
	clusterMAC = net.HardwareAddr{0x03, 0xbf, 10, 77, 0, 100}
	broadcast  = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
)

func open(t *testing.T, l netlink.Link, dst net.HardwareAddr) *Conn {
	t.Helper()
	c, err := Open(t.Context(), l.Attrs().Index, dst)
	if err != nil {
		t.Fatalf("open on %s: %v", l.Attrs().Name, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// hear opens both ends of an interface: it hears dst, and what arrives is received.
func hear(t *testing.T, l netlink.Link, dst net.HardwareAddr) *Receiver {
	t.Helper()
	open(t, l, dst)
	return listenOn(t, l)
}

func listenOn(t *testing.T, l netlink.Link) *Receiver {
	t.Helper()
	r, err := Listen(t.Context(), l.Attrs().Index)
	if err != nil {
		t.Fatalf("listen on %s: %v", l.Attrs().Name, err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// within bounds a wait that must end by itself.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestPayloadArrives(t *testing.T) {
	for name, dst := range map[string]net.HardwareAddr{
		"multicast":     clusterMAC,
		"IGMPMulticast": {0x01, 0x00, 0x5e, 0x7f, 0, 100},
		"broadcast":     broadcast,
	} {
		t.Run(name, func(t *testing.T) {
			nstest.Enter(t)
			a, b := nstest.Veth(t, "a0", "b0")
			from, to := open(t, a, dst), hear(t, b, dst)
			want := bytes.Repeat([]byte{0xbf, 1, 2, 3}, heartbeat.Size/4)
			if err := from.Send(want); err != nil {
				t.Fatal(err)
			}
			got, src, err := to.Receive(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("received %d bytes, sent %d", len(got), len(want))
			}
			if !bytes.Equal(src, a.Attrs().HardwareAddr) {
				t.Errorf("source %s, want the interface's own %s", src, a.Attrs().HardwareAddr)
			}
		})
	}
}

func TestSourceFollowsInterfaceAddress(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	from, to := open(t, a, clusterMAC), hear(t, b, clusterMAC)
	moved := net.HardwareAddr{0x02, 0, 0, 0, 0, 7}
	if err := netlink.LinkSetHardwareAddr(a, moved); err != nil {
		t.Fatal(err)
	}
	if err := from.Send(make([]byte, heartbeat.Size)); err != nil {
		t.Fatal(err)
	}
	if _, src, err := to.Receive(within(t)); err != nil || !bytes.Equal(src, moved) {
		t.Errorf("source %s, error %v; want %s", src, err, moved)
	}
}

func TestOwnFramesAndOtherEtherTypesAreIgnored(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	to := hear(t, b, clusterMAC)
	sendRaw(t, a, frame(b.Attrs().HardwareAddr, heartbeat.EtherType, "came back"))
	sendRaw(t, a, frame(a.Attrs().HardwareAddr, 0x88b5, "another protocol"))
	sendRaw(t, a, frame(a.Attrs().HardwareAddr, heartbeat.EtherType, "from a peer"))
	got, _, err := to.Receive(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("from a peer")) {
		t.Errorf("received %q", got)
	}
}

// A queue that stands still holds a few heartbeats; the next Send returns at once with an error.
func TestSendNeverWaits(t *testing.T) {
	nstest.Enter(t)
	a, _ := nstest.Veth(t, "a0", "b0")
	stuck := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: a.Attrs().Index, Handle: netlink.MakeHandle(1, 0),
			Parent: netlink.HANDLE_ROOT},
		// 1000 bytes/s with a bucket of two heartbeats, given in ticks of 64 ns.
		Rate: 1000, Limit: 1 << 20, Buffer: 3_000_000_000 / 64,
	}
	if err := netlink.QdiscAdd(stuck); err != nil {
		t.Fatalf("add tbf: %v", err)
	}
	c := open(t, a, clusterMAC)
	done := make(chan error, 1)
	go func() {
		for range 1000 {
			if err := c.Send(make([]byte, heartbeat.Size)); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if !errors.Is(err, ErrQueueFull) {
			t.Errorf("error %v, want ErrQueueFull", err)
		}
	case <-within(t).Done():
		t.Error("Send waits for a transmit queue that stands still")
	}
}

func TestMTUTooSmall(t *testing.T) {
	nstest.Enter(t)
	a, _ := nstest.Veth(t, "eth0", "b0")
	if err := netlink.LinkSetMTU(a, 1400); err != nil {
		t.Fatal(err)
	}
	err := open(t, a, clusterMAC).Send(make([]byte, heartbeat.Size))
	var mtu *MTUError
	if !errors.As(err, &mtu) {
		t.Fatalf("error %v, want an *MTUError", err)
	}
	if got, want := mtu.Error(), "interface eth0 has MTU 1400, heartbeats need 1496"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if err := CheckMTU("eth0", heartbeat.Size, heartbeat.Size); err != nil {
		t.Errorf("MTU that just fits: %v", err)
	}
}

func TestDownAndUpAgain(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	from, to := open(t, a, clusterMAC), hear(t, b, clusterMAC)
	if err := netlink.LinkSetDown(b); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Receive(within(t)); !errors.Is(err, ErrDown) {
		t.Errorf("receive while down: %v, want ErrDown", err)
	}
	if err := netlink.LinkSetUp(b); err != nil {
		t.Fatal(err)
	}
	nstest.WaitOperational(t, "a0")
	if err := from.Send(make([]byte, heartbeat.Size)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Receive(within(t)); err != nil {
		t.Errorf("receive after the interface came up: %v", err)
	}
}

func TestReceiveEndsWithContextAndWorksAgain(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	from, to := open(t, a, clusterMAC), hear(t, b, clusterMAC)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := to.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	if err := from.Send(make([]byte, heartbeat.Size)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Receive(within(t)); err != nil {
		t.Errorf("receive after a cancelled one: %v", err)
	}
}

func TestOpenRejects(t *testing.T) {
	nstest.Enter(t)
	a, _ := nstest.Veth(t, "a0", "b0")
	for name, tc := range map[string]struct {
		index int
		dst   net.HardwareAddr
	}{
		"unicast destination":      {a.Attrs().Index, net.HardwareAddr{0x02, 0xbf, 10, 77, 0, 100}},
		"destination of 8 bytes":   {a.Attrs().Index, make(net.HardwareAddr, 8)},
		"interface that is gone":   {4711, clusterMAC},
		"interface that is no LAN": {1, broadcast},
	} {
		if c, err := Open(t.Context(), tc.index, tc.dst); err == nil {
			_ = c.Close()
			t.Errorf("%s: no error", name)
		}
	}
	for name, index := range map[string]int{"interface that is gone": 4711, "interface that is no LAN": 1} {
		if r, err := Listen(t.Context(), index); err == nil {
			_ = r.Close()
			t.Errorf("listen on %s: no error", name)
		}
	}
}

func frame(src net.HardwareAddr, etherType uint16, payload string) []byte {
	f := append(bytes.Clone(clusterMAC), src...)
	f = append(f, byte(etherType>>8), byte(etherType))
	return append(f, append([]byte(payload), make([]byte, 60)...)...)
}

func sendRaw(t *testing.T, l netlink.Link, f []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
}
