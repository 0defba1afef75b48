// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Every rig says so at its end if a host ever sent from the cluster MAC, or the bridge learned it, also where the port
// forgot it since.
func TestClusterMACAsSourceIsAnError(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeUnicast, v1alpha1.ModeMulticast, v1alpha1.ModeIGMPMulticast} {
		t.Run(string(mode), func(t *testing.T) {
			r := newRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) { c.Spec.Mode = mode })
			h, want := r.Hosts[1], []string{"came from " + r.clusterMAC().String()}
			must(t, h.inject(ethernet(h.MAC, r.clusterMAC(), 0x88b5)))
			if mode == v1alpha1.ModeUnicast { // a Linux bridge learns no multicast address
				want = append(want, "learned the cluster MAC "+r.clusterMAC().String())
				must(t, poll(soon(t, waitLimit), func() error {
					fdb, err := r.FDB()
					if err == nil && len(fdb[h.Port]) < 2 {
						err = fmt.Errorf("the bridge has %v", fdb)
					}
					return err
				}))
			}
			must(t, h.Cut())
			err := r.Close()
			for _, w := range want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("close: %v, want an error that says %q", err, w)
				}
			}
		})
	}
}

// inject sends a frame from the host's interface as it is, past the whole stack but not past the filter's egress.
func (h *Host) inject(frame []byte) error { return h.NS.inject(frame) }

func (n *Namespace) inject(frame []byte) error {
	return n.Do(func() error {
		eth0, err := net.InterfaceByName(hostInterface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		return unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: eth0.Index})
	})
}

// ethernet is a frame of a type with a payload, at least 60 bytes long.
func ethernet(dst, src net.HardwareAddr, etherType uint16, payload ...byte) []byte {
	f := append(append([]byte(nil), dst...), src...)
	f = append(binary.BigEndian.AppendUint16(f, etherType), payload...)
	return append(f, make([]byte, max(0, 60-len(f)))...)
}
