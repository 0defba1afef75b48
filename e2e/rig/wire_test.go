// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	heartbeatType   = 0x886f
	heartbeatLength = 14 + 1496
)

func (r *Rig) clusterMAC() net.HardwareAddr {
	return v1alpha1.ClusterMAC(r.Cluster.Spec.Mode, r.vips()[0])
}

// neverAsSource fails the test if a frame has the cluster MAC as source, or a source that is not its port's host's, or if
// the bridge has learned the cluster MAC: a switch that did would send all traffic to one port (KB Q193602).
func (r *Rig) neverAsSource(t *testing.T, frames []Frame) {
	t.Helper()
	for _, f := range frames {
		if bytes.Equal(f.Source(), r.clusterMAC()) {
			t.Fatalf("a frame of type %#04x from %s has the cluster MAC as source", f.EtherType(), f.Port)
		}
		for _, h := range r.Hosts {
			if f.Port == h.Port && !bytes.Equal(f.Source(), h.MAC) {
				t.Fatalf("a frame of type %#04x from %s has source %s, want %s", f.EtherType(), h.Name, f.Source(), h.MAC)
			}
		}
	}
	fdb, err := r.FDB()
	must(t, err)
	for port, macs := range fdb {
		if slices.ContainsFunc(macs, func(m net.HardwareAddr) bool { return bytes.Equal(m, r.clusterMAC()) }) {
			t.Errorf("the bridge learned the cluster MAC at %s", port)
		}
	}
}

// Heartbeats are what Wireshark knows as MS-NLB, with the values of the configuration.
func TestHeartbeatsOnTheWire(t *testing.T) {
	needTool(t, "tshark")
	r, c := captureStart(t, 3, nil)
	frames, err := c.Stop()
	must(t, err)
	r.neverAsSource(t, frames)
	r.identified(t, frames, r.Hosts...)

	c, err = r.StartCapture()
	must(t, err)
	const listen = 3 * time.Second
	letPass(t, listen)
	frames, err = c.Stop()
	must(t, err)
	r.neverAsSource(t, frames)
	frames = slices.DeleteFunc(frames, isIdentity)

	sent := map[string]int{}
	for _, f := range frames {
		if f.EtherType() != heartbeatType {
			continue
		}
		sent[f.Port]++
		if f.Length != heartbeatLength || !bytes.Equal(f.Destination(), r.clusterMAC()) {
			t.Errorf("heartbeat of %d bytes to %s, want %d to %s", f.Length, f.Destination(), heartbeatLength, r.clusterMAC())
		}
	}
	var defaults v1alpha1.Heartbeat
	least := int(listen/defaults.Period()) / 2
	for _, h := range r.Hosts {
		if sent[h.Port] < least {
			t.Errorf("%s sent %d heartbeats in %v, want at least %d", h.Name, sent[h.Port], listen, least)
		}
	}

	file := filepath.Join(t.TempDir(), "heartbeats.pcap")
	must(t, WritePcap(file, frames))
	if bad := tshark(t, file, "eth.type == 0x886f && (_ws.malformed || _ws.expert || !msnlb)", "frame.number"); len(bad) > 0 {
		t.Errorf("tshark complains of frames %v", bad)
	}
	for _, h := range r.Hosts {
		filter := fmt.Sprintf("msnlb && eth.src == %s && !(msnlb.signature == 0xc0de01bf && msnlb.unique_host_id == %d && msnlb.cluster_ip == %s"+
			" && msnlb.host_ip == %s && msnlb.my_host_ip == %d && msnlb.default_host_ip == 1 && msnlb.number_of_port_rules == %d)",
			h.MAC, h.ID, VIP, h.Addr, h.ID, len(r.Cluster.Spec.PortRules))
		if odd := tshark(t, file, filter, "frame.number"); len(odd) > 0 {
			t.Errorf("%d heartbeats of %s lack its values", len(odd), h.Name)
		}
	}
}

// isIdentity reports whether a frame is an extended heartbeat: their kind is in the fifteenth byte.
func isIdentity(f Frame) bool { return f.EtherType() == heartbeatType && f.Data[14] == 0xc0 }

// identified fails the test unless every one of these hosts said its name and addresses in extended heartbeats that Wireshark decodes, and
// its peers know them.
func (r *Rig) identified(t *testing.T, frames []Frame, hosts ...*Host) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "identities.pcap")
	must(t, WritePcap(file, frames))
	if bad := tshark(t, file, "msnlb.signature == 0xc0de01c0 && (_ws.malformed || _ws.expert || msnlb.extended_hb.unknown)", "frame.number"); len(bad) > 0 {
		t.Errorf("tshark complains of extended heartbeats %v", bad)
	}
	vip := netip.MustParseAddr(r.Cluster.Spec.VirtualIPs[0])
	destination := r.clusterMAC()
	if r.Cluster.Spec.Mode == v1alpha1.ModeUnicast {
		destination = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	for _, h := range hosts {
		clusterIP, hostIP, field := vip, h.Addr, "msnlb.host_ipv4"
		if vip.Is6() {
			clusterIP, hostIP, field = netip.IPv4Unspecified(), netip.IPv4Unspecified(), "msnlb.host_ipv6"
		}
		for _, addr := range []netip.Addr{h.Addr, vip} {
			filter := fmt.Sprintf("eth.src == %s && eth.dst == %s && msnlb.signature == 0xc0de01c0 && msnlb.unique_host_id == %d && msnlb.cluster_ip == %s"+
				" && msnlb.host_ip == %s && msnlb.host_name == %q && %s == %s", h.MAC, destination, h.ID, clusterIP, hostIP, h.Name, field, addr)
			if said := tshark(t, file, filter, "frame.number"); len(said) == 0 {
				t.Errorf("no extended heartbeat of %s has %s", h.Name, addr)
			}
		}
	}
	first := hosts[0]
	must(t, poll(soon(t, waitLimit), func() error {
		out, err := exec.CommandContext(t.Context(), r.opts.Agent, "display", "--run-dir", first.RunDir()).Output()
		if err != nil {
			return err
		}
		for _, h := range hosts[1:] {
			if want := fmt.Sprintf("Host %d is %s (%s)", h.ID, h.Name, h.Addr); !strings.Contains(string(out), want) {
				return fmt.Errorf("display of %s lacks %q:\n%s", first.Name, want, out)
			}
		}
		return nil
	}))
}

// synAcks returns by client which hosts answered its SYN, from any virtual IP.
func synAcks(frames []Frame) map[netip.AddrPort]map[string]bool {
	const tcp, synAck = 6, 0x12
	out := map[netip.AddrPort]map[string]bool{}
	for _, f := range frames {
		p, ok := decode(f)
		if !ok || p.protocol != tcp || f.Port == "client" || len(p.payload) < 20 || p.payload[13]&0x3f != synAck {
			continue
		}
		if p.src != VIP && p.src != VIP6 {
			continue
		}
		client := netip.AddrPortFrom(p.dst, binary.BigEndian.Uint16(p.payload[2:]))
		if out[client] == nil {
			out[client] = map[string]bool{}
		}
		out[client][f.Port] = true
	}
	return out
}

// Many clients fall on all hosts; each connection is accepted by exactly one; a client stays with its host.
func TestClientsAreSpread(t *testing.T) {
	r := startRig(t, 3, nil)
	c, err := r.StartCapture()
	must(t, err)
	const clients, connections = 120, 3
	report, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: clients, Connections: connections, Interval: 100 * time.Millisecond, Timeout: 5 * time.Second})
	must(t, err)
	letPass(t, 200*time.Millisecond)
	frames, err := c.Stop()
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	r.neverAsSource(t, frames)

	for _, h := range r.Hosts {
		if n := report.ByHost()[h.Name]; n == 0 {
			t.Errorf("%s got none of %d connections", h.Name, len(report.Attempts))
		}
	}
	t.Logf("connections by host: %v", report.ByHost())
	home := report.HostOf()
	for _, a := range report.Attempts {
		if a.Error == "" && a.Host != home[a.Client] {
			t.Errorf("client %s was at %s and at %s", a.Client, home[a.Client], a.Host)
		}
	}
	accepted := synAcks(frames)
	if len(accepted) != clients*connections {
		t.Errorf("SYN-ACKs to %d connections, want %d", len(accepted), clients*connections)
	}
	for client, hosts := range accepted {
		if len(hosts) != 1 {
			t.Errorf("%s was accepted by %v", client, hosts)
		}
	}
}

// All modes spread clients, and in none does the switch learn the cluster MAC.
func TestModes(t *testing.T) {
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeUnicast, v1alpha1.ModeMulticast, v1alpha1.ModeIGMPMulticast} {
		t.Run(string(mode), func(t *testing.T) {
			r := startRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) { c.Spec.Mode = mode })
			c, err := r.StartCapture()
			must(t, err)
			report, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 60, Connections: 1, Timeout: 5 * time.Second})
			must(t, err)
			frames, err := c.Stop()
			must(t, err)
			none(t, report.Failed(), len(report.Attempts))
			if got := report.ByHost(); len(got) != 2 {
				t.Errorf("answers by host: %v, want both", got)
			}
			r.onceAccepted(t, frames)
			must(t, r.Hosts[1].Stop())
			left, err := r.Hosts[1].Leftovers()
			must(t, err)
			if len(left) > 0 {
				t.Errorf("leftovers: %v", left)
			}
		})
	}
}

// With affinity None the connections of one client are spread, too.
func TestAffinityNoneSpreadsOneClient(t *testing.T) {
	r := startRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) { c.Spec.PortRules[0].Affinity = v1alpha1.AffinityNone })
	report, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, HTTPPort), Clients: 1, Connections: 90, Interval: 10 * time.Millisecond, Timeout: 5 * time.Second})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); len(got) != 3 {
		t.Errorf("connections of one client by host: %v, want all three", got)
	}
}

// Ports that no rule covers are the default host's (Q198552).
func TestQ198552DefaultHostServesOtherPorts(t *testing.T) {
	r := startRig(t, 3, nil)
	report, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, OtherPort), Clients: 30, Connections: 1, Timeout: 5 * time.Second})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); got["node-a"] != 30 {
		t.Errorf("answers by host: %v, want all from node-a", got)
	}
	udp, err := r.Do(Load{Target: netip.AddrPortFrom(VIP, OtherPort), Clients: 30, Connections: 1, UDP: true, Timeout: 5 * time.Second})
	must(t, err)
	none(t, udp.Failed(), len(udp.Attempts))
	if got := udp.ByHost(); got["node-a"] != 30 {
		t.Errorf("UDP answers by host: %v, want all from node-a", got)
	}
}
