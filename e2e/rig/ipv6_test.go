// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// dualStack gives a cluster a virtual IP of each family.
func dualStack(c *v1alpha1.LoadBalancingCluster) {
	c.Spec.VirtualIPs = []string{VIP.String(), VIP6.String()}
}

// ipv6Only takes IPv4 from a cluster, and with it from the rig.
func ipv6Only(c *v1alpha1.LoadBalancingCluster) { c.Spec.VirtualIPs = []string{VIP6.String()} }

// spread fails the test unless clients of the virtual IP's family fall on all hosts, and exactly one accepts each.
func (r *Rig) spread(t *testing.T, vip netip.Addr, clients int) {
	t.Helper()
	c, err := r.StartCapture()
	must(t, err)
	report, err := r.Do(Load{Target: netip.AddrPortFrom(vip, HTTPPort), Clients: clients, Connections: 1, Timeout: 5 * time.Second})
	must(t, err)
	frames, err := c.Stop()
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	r.neverAsSource(t, frames)
	r.onceAccepted(t, frames)
	if got := report.ByHost(); len(got) != len(r.Hosts) {
		t.Errorf("answers from %s by host: %v, want all of %d", vip, got, len(r.Hosts))
	}
}

// A cluster with virtual IPs of both families spreads clients of both, and is found by ARP and by neighbour discovery.
func TestDualStack(t *testing.T) {
	r, c := captureStart(t, 3, dualStack)
	r.spread(t, VIP, 60)
	r.spread(t, VIP6, 60)
	r.confirmed(t)
	frames, err := c.Stop()
	must(t, err)
	r.advertised(t, frames)
	r.defended(t)
	r.spread(t, VIP6, 60)
	r.neighboursKnow(t)
}

// advertisement is a neighbour advertisement for the virtual IP.
type advertisement struct {
	from      string
	to        netip.Addr
	solicited bool
	mac       net.HardwareAddr
}

func advertisements(frames []Frame) []advertisement {
	const kind, length = 136, 32 // with the option that tells the target's MAC (RFC 4861 section 4.4)
	var out []advertisement
	for _, f := range frames {
		p, ok := decode(f)
		if !ok || p.protocol != unix.IPPROTO_ICMPV6 || len(p.payload) < length || p.payload[0] != kind || netip.AddrFrom16([16]byte(p.payload[8:24])) != VIP6 {
			continue
		}
		out = append(out, advertisement{f.Port, p.dst, p.payload[4]&0x40 != 0, p.payload[26:32]})
	}
	return out
}

// advertised fails the test unless every host announced the virtual IP unasked and answered solicitations, all with the
// cluster MAC.
func (r *Rig) advertised(t *testing.T, frames []Frame) {
	t.Helper()
	r.neverAsSource(t, frames)
	asked, unasked := map[string]int{}, map[string]int{}
	for _, a := range advertisements(frames) {
		if !bytes.Equal(a.mac, r.clusterMAC()) {
			t.Errorf("%s says that %s is at %s, want %s", a.from, VIP6, a.mac, r.clusterMAC())
		}
		if a.solicited {
			asked[a.from]++
		} else if a.to == allNodes {
			unasked[a.from]++
		}
	}
	for _, h := range r.Hosts {
		if asked[h.Port] == 0 || unasked[h.Port] == 0 {
			t.Errorf("%s advertised the virtual IP %d times when asked, %d times unasked", h.Name, asked[h.Port], unasked[h.Port])
		}
	}
}

var allNodes = netip.MustParseAddr("ff02::1")

// confirmed lets the clients check that they reach the virtual IP, as neighbours do now and then by a solicitation sent
// to the cluster MAC.
func (r *Rig) confirmed(t *testing.T) {
	t.Helper()
	for _, vip := range []netip.Addr{VIP, VIP6} {
		_, err := r.Client.Run("ip", "neigh", "replace", vip.String(), "lladdr", r.clusterMAC().String(), "dev", hostInterface, "nud", "probe")
		must(t, err)
		must(t, poll(soon(t, waitLimit), func() error {
			out, err := r.Client.Run("ip", "neigh", "show", vip.String(), "dev", hostInterface)
			if err == nil && !strings.Contains(out, "REACHABLE") {
				err = fmt.Errorf("neighbour %s", out)
			}
			return err
		}))
	}
}

// defended lets another device take the virtual IP: its probe is answered once by every host, so that it
// gives the address up, and the hosts keep theirs.
func (r *Rig) defended(t *testing.T) {
	t.Helper()
	c, err := r.StartCapture()
	must(t, err)
	must(t, r.Client.Do(func() error { return setSysctl("ipv6/conf/"+hostInterface+"/accept_dad", 1) }))
	_, err = r.Client.Run("ip", "address", "add", VIP6.String()+"/128", "dev", hostInterface)
	must(t, err)
	must(t, poll(soon(t, waitLimit), func() error {
		out, err := r.Client.Run("ip", "-6", "address", "show", "dev", hostInterface, "to", VIP6.String())
		if err == nil && !strings.Contains(out, "dadfailed") {
			err = fmt.Errorf("the device has not given the virtual IP up:\n%s", out)
		}
		return err
	}))
	_, err = r.Client.Run("ip", "address", "del", VIP6.String()+"/128", "dev", hostInterface)
	must(t, err)
	letPass(t, 200*time.Millisecond) // for answers that must not come
	frames, err := c.Stop()
	must(t, err)
	answers := map[string]int{}
	for _, a := range advertisements(frames) {
		if a.to == allNodes {
			answers[a.from]++
		}
	}
	for _, h := range r.Hosts {
		if answers[h.Port] != 1 {
			t.Errorf("%s defended the virtual IP %d times, want once", h.Name, answers[h.Port])
		}
		out, err := h.NS.Run("ip", "-6", "address", "show", "dev", "lo", "to", VIP6.String())
		if err != nil || !strings.Contains(out, VIP6.String()) || strings.Contains(out, "tentative") || strings.Contains(out, "dadfailed") {
			t.Errorf("%s has the virtual IP as %q, error %v", h.Name, out, err)
		}
	}
}

// neighboursKnow fails the test if anybody on the segment takes another MAC than the cluster's for that of a virtual IP.
func (r *Rig) neighboursKnow(t *testing.T) {
	t.Helper()
	namespaces := []*Namespace{r.Client}
	for _, h := range r.Hosts {
		namespaces = append(namespaces, h.NS)
	}
	for _, n := range namespaces {
		var list []netlink.Neigh
		must(t, n.Do(func() (err error) {
			list, err = netlink.NeighList(0, netlink.FAMILY_ALL)
			return err
		}))
		for _, e := range list {
			ip, ok := netip.AddrFromSlice(e.IP)
			if !ok || !slices.Contains(r.vips(), ip.Unmap()) || len(e.HardwareAddr) == 0 {
				continue
			}
			if !bytes.Equal(e.HardwareAddr, r.clusterMAC()) {
				t.Errorf("%s takes %s for the MAC of %s", n.Name, e.HardwareAddr, ip)
			}
		}
	}
}

// A cluster works where there is no IPv4 at all. Its heartbeats have no room for its addresses; extended ones say them, as
// Wireshark decodes it.
func TestIPv6Only(t *testing.T) {
	needTool(t, "tshark")
	r, c := captureStart(t, 2, ipv6Only)
	frames, err := c.Stop()
	must(t, err)
	file := filepath.Join(t.TempDir(), "heartbeats.pcap")
	must(t, WritePcap(file, frames))
	said := tshark(t, file, "msnlb.host_ipv6 && !_ws.malformed", "eth.src", "msnlb.host_ipv6")
	for _, h := range r.Hosts {
		for _, addr := range []netip.Addr{h.Addr, VIP6} {
			if !slices.ContainsFunc(pairs(said), func(p [2]string) bool { return p == [2]string{h.MAC.String(), addr.String()} }) {
				t.Errorf("no extended heartbeat of %s has %s: %v", h.Name, addr, said)
			}
		}
	}
	r.spread(t, VIP6, 60)
	must(t, r.Hosts[1].Stop())
	left, err := r.Hosts[1].Leftovers()
	must(t, err)
	if len(left) > 0 {
		t.Errorf("leftovers: %v", left)
	}
}

// pairs splits a list with two fields of each packet.
func pairs(fields []string) [][2]string {
	var out [][2]string
	for f := range slices.Chunk(fields, 2) {
		if len(f) == 2 {
			out = append(out, [2]string(f))
		}
	}
	return out
}
