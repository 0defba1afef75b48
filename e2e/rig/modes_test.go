// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wlbsv1alpha1 "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Each mode sends heartbeats where WLBS did (Q232711), is a real member of its IGMP group where it has one, and lets
// the hosts reach each other, which WLBS could not in unicast mode with one adapter (Q197864).
func TestModesOnTheWire(t *testing.T) {
	for mode, to := range map[wlbsv1alpha1.Mode]string{
		wlbsv1alpha1.ModeUnicast:       "ff:ff:ff:ff:ff:ff",
		wlbsv1alpha1.ModeMulticast:     "03:bf:0a:4d:00:64",
		wlbsv1alpha1.ModeIGMPMulticast: "01:00:5e:7f:00:64",
	} {
		t.Run(string(mode), func(t *testing.T) {
			r := startRig(t, 2, func(c *wlbsv1alpha1.LoadBalancingCluster) { c.Spec.Mode = mode })
			c, err := r.StartCapture()
			must(t, err)
			lapse(t, time.Second)
			a, b := r.Hosts[0], r.Hosts[1]
			must(t, a.NS.Do(func() error {
				conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(b.Addr, HTTPPort).String(), 5*time.Second)
				if err != nil {
					return err
				}
				return conn.Close()
			}))
			frames, err := c.Stop()
			must(t, err)
			r.neverAsSource(t, frames)
			beats := 0
			for _, f := range frames {
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
			if joined := strings.Contains(groups, "6400FFEF"); joined != (mode == wlbsv1alpha1.ModeIGMPMulticast) {
				t.Errorf("member of the group: %v\n%s", joined, groups)
			}
		})
	}
}
