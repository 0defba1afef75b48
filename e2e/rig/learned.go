// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// learned is all that the bridge ever learned: its table forgets what a port knew that lost its carrier.
type learned struct {
	stop chan struct{}

	// odd is a packet socket for frames with a source that no host may have.
	odd int

	mu    sync.Mutex
	ports map[string][]string // by MAC address, the ports it was at
	err   error
}

// watchBridge begins to listen to what the bridge learns, in the namespace of the calling thread.
func (l *learned) watchBridge() error {
	if err := l.watchSources(); err != nil {
		return fmt.Errorf("listen to the bridge: %w", err)
	}
	updates := make(chan netlink.NeighUpdate, 64)
	l.stop, l.ports = make(chan struct{}), map[string][]string{}
	err := netlink.NeighSubscribeWithOptions(updates, l.stop, netlink.NeighSubscribeOptions{ErrorCallback: l.fail})
	if err != nil {
		return fmt.Errorf("listen to the bridge: %w", err)
	}
	go func() {
		for u := range updates {
			if u.Type == unix.RTM_NEWNEIGH && u.Family == unix.AF_BRIDGE && u.State&netlink.NUD_PERMANENT == 0 {
				l.add(u.HardwareAddr, u.LinkIndex)
			}
		}
	}()
	return nil
}

func (l *learned) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

func (l *learned) add(mac net.HardwareAddr, port int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := fmt.Sprintf("interface %d", port)
	if !slices.Contains(l.ports[mac.String()], at) {
		l.ports[mac.String()] = append(l.ports[mac.String()], at)
	}
}

// watchSources opens a socket for all frames that come into the bridge from a multicast MAC, which a Linux bridge drops
// and other switches may learn, or from one that begins as the cluster MAC of Unicast mode does.
func (l *learned) watchSources() error {
	const source, group, unicastMode = 6, 1, 0x02bf
	accept := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: source},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 2, K: group},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: source},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unicastMode},
		{Code: unix.BPF_RET | unix.BPF_K, K: snapLength},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	var err error
	// Of no protocol it gets nothing before the filter is there.
	if l.odd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return err
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	return errors.Join(
		unix.SetsockoptSockFprog(l.odd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(accept)), Filter: &accept[0]}),
		unix.SetsockoptInt(l.odd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(l.odd, &unix.SockaddrLinklayer{Protocol: all}))
}

// oddSource returns an error with the first frame that had such a source.
func (l *learned) oddSource() error {
	buf := make([]byte, snapLength)
	n, _, err := unix.Recvfrom(l.odd, buf, 0)
	closeErr := unix.Close(l.odd)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return closeErr
	case err != nil:
		return fmt.Errorf("listen to the bridge: %w", err)
	}
	f := Frame{Data: buf[:n]}
	return fmt.Errorf("a frame of type %#04x came from %s, a MAC of no host", f.EtherType(), f.Source())
}

// end stops listening and says if the bridge learned a cluster MAC, that of any mode, or got a frame from one: all
// traffic for the virtual IPs would go to one port (KB Q193602, Q227812, Q258609).
func (l *learned) end(vips []netip.Addr) error {
	if l.stop == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.stop = nil }()
	defer close(l.stop)
	errs := []error{l.oddSource()}
	if l.err != nil {
		errs = append(errs, fmt.Errorf("listen to the bridge: %w", l.err))
	}
	for _, vip := range vips {
		for _, mode := range []v1alpha1.Mode{v1alpha1.ModeUnicast, v1alpha1.ModeMulticast, v1alpha1.ModeIGMPMulticast} {
			mac := v1alpha1.ClusterMAC(mode, vip).String()
			if at := l.ports[mac]; len(at) > 0 {
				errs = append(errs, fmt.Errorf("the bridge learned the cluster MAC %s at %v", mac, at))
			}
		}
	}
	return errors.Join(errs...)
}
