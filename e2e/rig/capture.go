// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// snapLength holds a heartbeat whole; of longer frames the headers are enough.
	snapLength = 2048
	// maxFrames bounds a capture.
	maxFrames = 300_000
	// captureBuffer of the socket in bytes.
	captureBuffer = 64 << 20
)

// Frame is one frame as it came into the bridge.
type Frame struct {
	// At is when, Port is the port's name: where the frame came from.
	At   time.Time
	Port string
	// Data begins with the Ethernet header and may be cut off after snapLength bytes; Length is the whole length.
	Data   []byte
	Length int
}

// Source MAC address of the frame.
func (f Frame) Source() net.HardwareAddr { return net.HardwareAddr(f.Data[6:12]) }

// Destination MAC address of the frame.
func (f Frame) Destination() net.HardwareAddr { return net.HardwareAddr(f.Data[0:6]) }

// EtherType of the frame.
func (f Frame) EtherType() uint16 { return binary.BigEndian.Uint16(f.Data[12:]) }

// Capture records every frame that enters the bridge, once, by the port it enters through. Where there are cards, it
// records what the client sends and gets, by the source.
type Capture struct {
	fd     int
	ports  map[int]string
	source func(net.HardwareAddr) string
	stop   chan struct{}
	done   chan struct{}
	mu     sync.Mutex
	frames []Frame
	err    error
}

// StartCapture begins a capture.
func (r *Rig) StartCapture() (*Capture, error) {
	c := &Capture{ports: map[int]string{}, stop: make(chan struct{}), done: make(chan struct{})}
	at, open := r.Bridge, c.openBridge
	if r.opts.Cards != nil {
		at, open, c.source = r.Client, c.openClient, r.portOf
	}
	if err := at.Do(open); err != nil {
		return nil, fmt.Errorf("capture at %s: %w", at.Name, err)
	}
	go c.run()
	return c, nil
}

// portOf names the port of the host with a MAC; anything else is the client's.
func (r *Rig) portOf(mac net.HardwareAddr) string {
	for _, h := range r.Hosts {
		if bytes.Equal(h.MAC, mac) {
			return h.Port
		}
	}
	return "client"
}

func (c *Capture) openClient() error {
	l, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return err
	}
	c.ports[l.Attrs().Index] = hostInterface
	const bothWays = 0
	return c.open(bothWays)
}

func (c *Capture) openBridge() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, l := range links {
		if l.Attrs().MasterIndex != 0 {
			c.ports[l.Attrs().Index] = l.Attrs().Name
		}
	}
	const incomingOnly = 1
	return c.open(incomingOnly)
}

// open takes 1 to leave out what the namespace sends, else 0.
func (c *Capture) open(incomingOnly int) (err error) {
	all := binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)
	c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(all)))
	if err != nil {
		return err
	}
	// SO_RCVBUFFORCE is root's; without it the kernel's limit holds.
	_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, captureBuffer)
	return errors.Join(
		unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, incomingOnly),
		unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}))
}

func (c *Capture) run() {
	defer close(c.done)
	buf := make([]byte, snapLength)
	for {
		n, from, err := unix.Recvfrom(c.fd, buf, unix.MSG_TRUNC)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			select {
			case <-c.stop:
				return
			default:
				continue
			}
		}
		if err != nil {
			c.fail(err)
			return
		}
		ll, ok := from.(*unix.SockaddrLinklayer)
		if !ok || c.ports[ll.Ifindex] == "" || n < 14 {
			continue
		}
		f := Frame{At: time.Now(), Port: c.ports[ll.Ifindex], Data: append([]byte(nil), buf[:min(n, len(buf))]...), Length: n}
		if c.source != nil {
			f.Port = c.source(f.Source())
		}
		c.add(f)
	}
}

func (c *Capture) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *Capture) add(f Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.frames) >= maxFrames {
		c.err = fmt.Errorf("more than %d frames", maxFrames)
		return
	}
	c.frames = append(c.frames, f)
}

// Stop ends the capture. It is an error if frames were lost: a capture with holes proves nothing.
func (c *Capture) Stop() ([]Frame, error) {
	close(c.stop)
	<-c.done
	stats, statsErr := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	closeErr := unix.Close(c.fd)
	c.mu.Lock()
	defer c.mu.Unlock()
	if statsErr == nil && stats.Drops > 0 {
		c.err = errors.Join(c.err, fmt.Errorf("%d frames lost", stats.Drops))
	}
	if err := errors.Join(c.err, statsErr, closeErr); err != nil {
		return nil, fmt.Errorf("capture at the bridge: %w", err)
	}
	return c.frames, nil
}

// WritePcap writes frames to a file that tshark and tcpdump read.
func WritePcap(path string, frames []Frame) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	out := bufio.NewWriter(file)
	const magic, major, minor, ethernet = 0xa1b2c3d4, 2, 4, 1
	writeErr := binary.Write(out, binary.NativeEndian, struct {
		Magic                 uint32
		Major, Minor          uint16
		Zone, Accuracy        uint32
		SnapLength, LinkLayer uint32
	}{magic, major, minor, 0, 0, snapLength, ethernet})
	for _, f := range frames {
		head := [4]uint32{uint32(f.At.Unix()), uint32(f.At.Nanosecond() / 1000), uint32(len(f.Data)), uint32(f.Length)}
		writeErr = errors.Join(writeErr, binary.Write(out, binary.NativeEndian, head))
		_, err := out.Write(f.Data)
		writeErr = errors.Join(writeErr, err)
	}
	if err := errors.Join(writeErr, out.Flush(), file.Close()); err != nil {
		return fmt.Errorf("write capture %s: %w", path, err)
	}
	return nil
}

// FDB returns the addresses that the bridge has learned, by port.
func (r *Rig) FDB() (map[string][]net.HardwareAddr, error) {
	out := map[string][]net.HardwareAddr{}
	err := r.Bridge.Do(func() error {
		entries, err := netlink.NeighList(0, unix.AF_BRIDGE)
		if err != nil {
			return fmt.Errorf("list the bridge's addresses: %w", err)
		}
		for _, e := range entries {
			link, err := netlink.LinkByIndex(e.LinkIndex)
			if err != nil || e.State&netlink.NUD_PERMANENT != 0 || e.HardwareAddr == nil {
				continue
			}
			out[link.Attrs().Name] = append(out[link.Attrs().Name], e.HardwareAddr)
		}
		return nil
	})
	return out, err
}
