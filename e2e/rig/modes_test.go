// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bufio"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Each mode sends heartbeats where WLBS did (Q232711), is a real member of its IGMP group where it has one, and lets
// the hosts reach each other, which WLBS could not in unicast mode with one adapter (Q197864). A connection of a host to
// its own virtual IP stays on that host (Q247768).
func TestModesOnTheWire(t *testing.T) {
	for mode, to := range map[v1alpha1.Mode]string{
		v1alpha1.ModeUnicast:       "ff:ff:ff:ff:ff:ff",
		v1alpha1.ModeMulticast:     "03:bf:0a:4d:00:64",
		v1alpha1.ModeIGMPMulticast: "01:00:5e:7f:00:64",
	} {
		t.Run(string(mode), func(t *testing.T) {
			r := startRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
				dualStack(c)
				c.Spec.Mode = mode
			})
			c, err := r.StartCapture()
			must(t, err)
			letPass(t, time.Second)
			a, b := r.Hosts[0], r.Hosts[1]
			for _, vip := range []netip.Addr{VIP, VIP6} {
				a.reaches(t, HostAddr(b.ID, vip), b)
				b.reaches(t, HostAddr(a.ID, vip), a)
				for range 5 {
					a.reaches(t, vip, a)
					b.reaches(t, vip, b)
				}
			}
			frames, err := c.Stop()
			must(t, err)
			r.neverAsSource(t, frames)
			beats := 0
			for _, f := range frames {
				if p, ok := decode(f); ok && p.protocol == unix.IPPROTO_TCP && (p.src == VIP || p.src == VIP6 || p.dst == VIP || p.dst == VIP6) {
					t.Errorf("a segment of a host's connection to the virtual IP left through %s", f.Port)
				}
				if f.EtherType() != heartbeatType {
					continue
				}
				beats++
				if f.Destination().String() != to {
					t.Fatalf("heartbeat to %s, want %s", f.Destination(), to)
				}
			}
			if beats == 0 {
				t.Error("no heartbeat seen")
			}
			// 239.255.0.100, in the order of /proc's bytes.
			groups, err := a.NS.Run("cat", "/proc/thread-self/net/igmp")
			must(t, err)
			if joined := strings.Contains(groups, "6400FFEF"); joined != (mode == v1alpha1.ModeIGMPMulticast) {
				t.Errorf("member of the group: %v\n%s", joined, groups)
			}
		})
	}
}

// reaches fails the test unless another host, or this one itself, answers the host.
func (h *Host) reaches(t *testing.T, to netip.Addr, want *Host) {
	t.Helper()
	var conn net.Conn
	must(t, h.NS.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", netip.AddrPortFrom(to, HTTPPort).String(), 5*time.Second)
		return err
	}))
	defer func() { _ = conn.Close() }()
	if got, err := exchange(conn, bufio.NewReader(conn), 5*time.Second, "hello"); err != nil || got != want.Name {
		t.Errorf("%s asked %s and was answered by %q, want %s; error %v", h.Name, to, got, want.Name, err)
	}
}
