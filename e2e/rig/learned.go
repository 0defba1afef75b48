// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	wlbsv1alpha1 "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// learned is all that the bridge ever learned: its table forgets what a port knew that lost its carrier.
type learned struct {
	stop chan struct{}

	mu    sync.Mutex
	ports map[string][]string // by MAC address, the ports it was at
	err   error
}

// watchBridge begins to listen to what the bridge learns, in the namespace of the calling thread.
func (l *learned) watchBridge() error {
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

// end stops listening and says if the bridge learned a cluster MAC, that of any mode: all traffic for the virtual
// IPs would have gone to one port (KB Q193602, Q227812, Q258609).
func (l *learned) end(vips []netip.Addr) error {
	if l.stop == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer func() { l.stop = nil }()
	defer close(l.stop)
	var errs []error
	if l.err != nil {
		errs = append(errs, fmt.Errorf("listen to the bridge: %w", l.err))
	}
	for _, vip := range vips {
		for _, mode := range []wlbsv1alpha1.Mode{wlbsv1alpha1.ModeUnicast, wlbsv1alpha1.ModeMulticast, wlbsv1alpha1.ModeIGMPMulticast} {
			mac := wlbsv1alpha1.ClusterMAC(mode, vip).String()
			if at := l.ports[mac]; len(at) > 0 {
				errs = append(errs, fmt.Errorf("the bridge learned the cluster MAC %s at %v", mac, at))
			}
		}
	}
	return errors.Join(errs...)
}
