// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// wholeRange gives a dual-stack cluster one rule for all ports, as KB Q229064 advises for the sake of fragments.
func wholeRange(c *v1alpha1.LoadBalancingCluster) {
	dualStack(c)
	c.Spec.PortRules = []v1alpha1.PortRule{{
		Name: "all", Ports: v1alpha1.PortRange{From: 0, To: 65535}, Protocol: v1alpha1.ProtocolBoth,
		FilteringMode: v1alpha1.FilteringModeMultiple, Affinity: v1alpha1.AffinitySingle,
	}}
}

// Packets that are not plain reach the host of their client, in both families.
func TestOddPackets(t *testing.T) {
	r := startRig(t, 3, wholeRange)
	for _, vip := range []netip.Addr{VIP, VIP6} {
		for name, test := range map[string]func(*testing.T, *Rig, netip.Addr){
			"unspecified source": unspecifiedSource,
			"headers":            oddHeaders,
			"echo":               echoOnce,
			"path MTU":           pathMTU,
			"fragments":          fragments,
		} {
			t.Run(name+" "+vip.String(), func(t *testing.T) { test(t, r, vip) })
		}
	}
	t.Run("fragments, affinity None", func(t *testing.T) {
		r.Cluster.Spec.PortRules[0].Affinity = v1alpha1.AffinityNone
		r.reconfigured(t)
		for _, vip := range []netip.Addr{VIP, VIP6} {
			fragmentsEverywhere(t, r, vip)
		}
	})
}

// reconfigured writes the cluster file and waits until all hosts have converged by it.
func (r *Rig) reconfigured(t *testing.T) {
	t.Helper()
	before, err := r.Hosts[0].Query(t.Context())
	must(t, err)
	must(t, r.WriteCluster())
	must(t, poll(soon(t, waitLimit), func() error {
		now, err := r.Hosts[0].Query(t.Context())
		if err == nil && *now.Status.Epoch == *before.Status.Epoch {
			err = errors.New("no new epoch")
		}
		return err
	}))
	r.converged(t, r.Hosts...)
}

// Connection requests from 0.0.0.0, which stopped the NT driver, and from :: are invalid, get no answer, and no host keeps
// state of them (KB Q244084).
func unspecifiedSource(t *testing.T, r *Rig, vip netip.Addr) {
	before := map[string]int64{}
	for _, h := range r.Hosts {
		is, err := h.Query(t.Context())
		must(t, err)
		before[h.Name] = invalid(is)
	}
	const count = 5
	c, err := r.StartCapture()
	must(t, err)
	for port := range count {
		must(t, r.Client.inject(ethernet(r.clusterMAC(), clientMAC, etherTypeOf(vip), synFromNowhere(vip, uint16(40000+port))...)))
	}
	for _, h := range r.Hosts {
		must(t, poll(soon(t, waitLimit), func() error {
			is, err := h.Query(t.Context())
			if err == nil && invalid(is) < before[h.Name]+count {
				err = fmt.Errorf("%s counts %d invalid packets, want %d more than %d", h.Name, invalid(is), count, before[h.Name])
			}
			return err
		}))
		if table, err := h.NS.Run("ss", "-Hnta", "state", "syn-recv"); err != nil || strings.TrimSpace(table) != "" {
			t.Errorf("%s has half-open connections, error %v:\n%s", h.Name, err, table)
		}
	}
	frames, err := c.Stop()
	must(t, err)
	for _, f := range frames {
		if p, ok := decode(f); ok && f.Port != "client" && p.src == vip && p.protocol == unix.IPPROTO_TCP {
			t.Errorf("%s answered a connection request from nowhere", f.Port)
		}
	}
}

var clientMAC = net.HardwareAddr{0x02, 0x77, 0, 0, 1, 1}

func invalid(h *v1alpha1.LoadBalancingHost) int64 {
	if h.Status.Traffic.Invalid == nil {
		return 0
	}
	return *h.Status.Traffic.Invalid
}

func etherTypeOf(a netip.Addr) uint16 {
	if a.Is6() {
		return unix.ETH_P_IPV6
	}
	return unix.ETH_P_IP
}

// synFromNowhere is a connection request with valid checksums from the unspecified address to port 80.
func synFromNowhere(vip netip.Addr, port uint16) []byte {
	tcp := []byte{byte(port >> 8), byte(port), 0, HTTPPort, 0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0}
	pseudo := append(make([]byte, 36), 0, byte(len(tcp)), 0, unix.IPPROTO_TCP)
	copy(pseudo, vip.AsSlice())
	putChecksum(tcp[16:], append(pseudo, tcp...))
	if vip.Is6() {
		ip := append([]byte{0x60, 0, 0, 0, 0, byte(len(tcp)), unix.IPPROTO_TCP, 64}, make([]byte, 16)...)
		return append(append(ip, vip.AsSlice()...), tcp...)
	}
	ip := append([]byte{0x45, 0, 0, byte(20 + len(tcp)), 0, 1, 0, 0, 64, unix.IPPROTO_TCP, 0, 0, 0, 0, 0, 0}, vip.AsSlice()...)
	putChecksum(ip[10:], ip)
	return append(ip, tcp...)
}

// putChecksum writes the Internet checksum of data of even length (RFC 1071).
func putChecksum(to, data []byte) {
	var sum uint32
	for i := 0; i+1 < len(data); i += 2 {
		sum += uint32(data[i])<<8 | uint32(data[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	to[0], to[1] = byte(^sum>>8), byte(^sum)
}

// IP options and extension headers move no client to another host, and exactly one accepts each connection.
func oddHeaders(t *testing.T, r *Rig, vip netip.Addr) {
	headers := []Header{IPOptions}
	if vip.Is6() {
		headers = []Header{DestinationOptions, HopByHopOptions}
	}
	load := Load{Target: netip.AddrPortFrom(vip, HTTPPort), Clients: 30, Connections: 1, Timeout: 5 * time.Second}
	plain, err := r.Do(load)
	must(t, err)
	none(t, plain.Failed(), len(plain.Attempts))
	for _, load.Header = range headers {
		c, err := r.StartCapture()
		must(t, err)
		report, err := r.Do(load)
		must(t, err)
		frames, err := c.Stop()
		must(t, err)
		none(t, report.Failed(), len(report.Attempts))
		r.onceAccepted(t, frames)
		for client, host := range report.HostOf() {
			if want := plain.HostOf()[client]; host != want {
				t.Errorf("%s: %s is at %s, without at %s", load.Header, client, host, want)
			}
		}
		if got := report.ByHost(); len(got) != len(r.Hosts) {
			t.Errorf("%s: answers by host: %v, want all", load.Header, got)
		}
	}
}

// An echo request is answered once, by the host that the default rule gives all clients to.
func echoOnce(t *testing.T, r *Rig, vip netip.Addr) {
	c, err := r.StartCapture()
	must(t, err)
	const clients = 10
	for i := range clients {
		must(t, r.ping(Load{Target: netip.AddrPortFrom(vip, 0)}.client(i), vip))
	}
	letPass(t, 200*time.Millisecond) // for the answers that must not come
	frames, err := c.Stop()
	must(t, err)
	reply, protocol := byte(0), uint8(unix.IPPROTO_ICMP)
	if vip.Is6() {
		reply, protocol = 129, unix.IPPROTO_ICMPV6
	}
	answers := map[netip.Addr][]string{}
	for _, f := range frames {
		if p, ok := decode(f); ok && p.protocol == protocol && p.src == vip && p.payload[0] == reply {
			answers[p.dst] = append(answers[p.dst], f.Port)
		}
	}
	if len(answers) != clients {
		t.Errorf("answers to %d clients, want %d", len(answers), clients)
	}
	for client, ports := range answers {
		if len(ports) != 1 || ports[0] != r.Hosts[0].Port {
			t.Errorf("%s got answers from %v, want one from the default host", client, ports)
		}
	}
}

// ping sends an echo request and waits for the answer.
func (r *Rig) ping(from, to netip.Addr) error {
	network, request := "ip4:icmp", []byte{8, 0, 0, 0, 0x77, 1, 0, 1}
	if to.Is6() {
		network, request = "ip6:ipv6-icmp", []byte{128, 0, 0, 0, 0x77, 1, 0, 1} // the kernel adds the checksum
	} else {
		putChecksum(request[2:], request)
	}
	return r.Client.Do(func() error {
		conn, err := net.DialIP(network, &net.IPAddr{IP: from.AsSlice()}, &net.IPAddr{IP: to.AsSlice()})
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write(request); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		for {
			n, _, err := conn.ReadFromIP(buf) // Read would leave the header of IPv4 in place
			if err != nil {
				return fmt.Errorf("echo from %s to %s: %w", from, to, err)
			}
			if n > 0 && (buf[0] == 0 || buf[0] == 129) {
				return nil
			}
		}
	})
}

// A client behind a router whose next network has a smaller MTU gets its download: the router's error reaches
// the host that has the connection, whichever that is.
func pathMTU(t *testing.T, r *Rig, vip netip.Addr) {
	far, err := r.farSide(vip)
	must(t, err)
	defer func() { must(t, far.close()) }()
	c, err := r.StartCapture()
	must(t, err)
	const clients, size = 12, 1 << 20
	for i := range clients {
		must(t, far.download(farAddr(vip, i), netip.AddrPortFrom(vip, HTTPPort), size))
	}
	frames, err := c.Stop()
	must(t, err)
	tooBig, servers := 0, map[string]bool{}
	for _, f := range frames {
		p, ok := decode(f)
		switch {
		case !ok:
		case p.dst == vip && p.protocol == unix.IPPROTO_ICMP && p.payload[0] == 3 && p.payload[1] == 4,
			p.dst == vip && p.protocol == unix.IPPROTO_ICMPV6 && p.payload[0] == 2:
			tooBig++
		case p.src == vip && p.protocol == unix.IPPROTO_TCP:
			servers[f.Port] = true
		}
	}
	if tooBig == 0 {
		t.Error("the router said nothing of its MTU: the test tests nothing")
	}
	if len(servers) != len(r.Hosts) {
		t.Errorf("downloads from %v, want from all hosts", servers)
	}
	t.Logf("%d errors from the router", tooBig)
}

// farAddr is an address of the far side.
func farAddr(like netip.Addr, i int) netip.Addr {
	if like.Is6() {
		return netip.AddrFrom16([16]byte{0: 0xfd, 1: 2, 15: byte(10 + i)})
	}
	return netip.AddrFrom4([4]byte{10, 78, 0, byte(10 + i)})
}

// farSide makes a network behind the clients' namespace, which becomes its router, on a link of MTU 1300. Its hosts
// think theirs is 1500.
func (r *Rig) farSide(like netip.Addr) (*Namespace, error) {
	family, net, router, via, forwarding := "4", "10.78.0.0/24", "10.78.0.1", ClientAddr(0), "ipv4/ip_forward"
	bits := "/24"
	if like.Is6() {
		family, net, router, via, forwarding = "6", "fd02::/64", "fd02::1", ClientAddr6(0), "ipv6/conf/all/forwarding"
		bits = "/64"
	}
	far, err := newNamespace(r.opts.Prefix + "-f" + family)
	if err != nil {
		return nil, err
	}
	link := "far" + family
	type step struct {
		n    *Namespace
		args string
	}
	steps := []step{
		{r.Client, "link add " + link + " mtu 1300 type veth peer name eth0 mtu 1500 netns " + far.Name},
		{r.Client, "-" + family + " address add " + router + bits + " dev " + link + " " + nodad(like)},
		{r.Client, "link set " + link + " up"},
		{far, "link set eth0 up"},
	}
	for i := range 12 {
		steps = append(steps, step{far, "-" + family + " address add " + farAddr(like, i).String() + bits + " dev eth0 " + nodad(like)})
	}
	steps = append(steps, step{far, "-" + family + " route add default via " + router})
	for _, h := range r.Hosts {
		steps = append(steps, step{h.NS, "-" + family + " route replace " + net + " via " + via.String()})
	}
	err = r.Client.Do(func() error { return setSysctl(forwarding, 1) })
	for _, s := range steps {
		if err == nil {
			_, err = s.n.Run("ip", strings.Fields(s.args)...)
		}
	}
	if err != nil {
		return nil, errors.Join(err, far.close())
	}
	return far, nil
}

func nodad(like netip.Addr) string {
	if like.Is6() {
		return "nodad"
	}
	return ""
}

// download fetches size bytes from a server of the rig.
func (n *Namespace) download(from netip.Addr, target netip.AddrPort, size int) error {
	var conn net.Conn
	err := n.Do(func() (err error) {
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		conn, err = d.Dial("tcp", target.String())
		return err
	})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%s%d\n", download, size); err != nil {
		return err
	}
	got, err := io.Copy(io.Discard, conn)
	if err != nil || got != int64(size) {
		return fmt.Errorf("%s got %d of %d bytes: %w", from, got, size, err)
	}
	return nil
}

const bigDatagram = 8000

// All fragments of a datagram land on one host under affinity Single, and it is answered (KB Q247819, Q229064).
func fragments(t *testing.T, r *Rig, vip netip.Addr) {
	load := Load{Target: netip.AddrPortFrom(vip, HTTPPort), Clients: 1, Connections: 1, UDP: true, Size: bigDatagram, Timeout: 5 * time.Second}
	one := func() error {
		before := r.fragmentsSeen(t, vip)
		report, err := r.Do(load)
		must(t, err)
		none(t, report.Failed(), len(report.Attempts))
		for host, n := range r.fragmentsSeen(t, vip) {
			if got, owner := n-before[host], report.ByHost()[host] == 1; owner != (got > 0) {
				return fmt.Errorf("client %d was answered by %v, and %s saw %d fragments", load.First, report.ByHost(), host, got)
			}
		}
		return nil
	}
	// After a commit a host takes the later fragments of every client until it has seen which connections it holds.
	must(t, poll(soon(t, waitLimit), func() error {
		for load.First = range 6 {
			if err := one(); err != nil {
				return err
			}
		}
		return nil
	}))
	load.First, load.Clients = 0, 60
	report, err := r.Do(load)
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	if got := report.ByHost(); len(got) != len(r.Hosts) {
		t.Errorf("answers by host: %v, want all", got)
	}
}

// Under affinity None later fragments, which have no port to tell by, go to all hosts, and the one that has the first
// fragment, too, answers.
func fragmentsEverywhere(t *testing.T, r *Rig, vip netip.Addr) {
	t.Helper()
	before := r.fragmentsSeen(t, vip)
	report, err := r.Do(Load{
		Target: netip.AddrPortFrom(vip, HTTPPort), Clients: 1, Connections: 20, UDP: true, Size: bigDatagram, Timeout: 5 * time.Second,
	})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	for host, n := range r.fragmentsSeen(t, vip) {
		if n == before[host] {
			t.Errorf("%s saw no fragment for %s", host, vip)
		}
	}
}

// fragmentsSeen returns by host how many fragments its kernel was given.
func (r *Rig) fragmentsSeen(t *testing.T, vip netip.Addr) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, h := range r.Hosts {
		n, err := h.fragmentsSeen(vip.Is6())
		must(t, err)
		out[h.Name] = n
	}
	return out
}

func (h *Host) fragmentsSeen(v6 bool) (int, error) {
	if v6 {
		table, err := h.NS.Run("cat", "/proc/thread-self/net/snmp6")
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(table, "Ip6ReasmReqds")
		return strconv.Atoi(strings.Fields(rest)[0])
	}
	table, err := h.NS.Run("cat", "/proc/thread-self/net/snmp")
	if err != nil {
		return 0, err
	}
	lines := strings.Split(table, "\n") // names, then values
	names, values := strings.Fields(lines[0]), strings.Fields(lines[1])
	for i, name := range names {
		if name == "ReasmReqds" {
			return strconv.Atoi(values[i])
		}
	}
	return 0, errors.New("no ReasmReqds in /proc/net/snmp")
}
