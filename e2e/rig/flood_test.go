// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// KB829701: a flood of connection requests from addresses that do not exist. All hosts see it alike: no host is lost or called
// stalled, and what is connected stays, also when buckets move afterwards.
func TestKB829701SYNFlood(t *testing.T) {
	const requests = 200_000
	r := newRig(t, 3, nil)
	r.useAgent(t)
	for _, h := range r.Hosts {
		// The hosts answer into the void, as they do by way of a router.
		_, err := h.NS.Run("ip", "route", "add", "10.78.0.0/16", "via", ClientAddr(0).String())
		must(t, err)
	}
	present, late := r.Hosts[:2], r.Hosts[2]
	for _, h := range present {
		must(t, h.Start())
	}
	r.converged(t, present...)
	held, err := r.StartLoad(Load{Target: vipPort(HTTPPort), Clients: 120, Hold: true, Interval: 200 * time.Millisecond, Timeout: waitLimit, Limit: 3 * time.Minute})
	must(t, err)
	letPass(t, time.Second)
	before := r.reports(t, present)
	at := time.Now()
	must(t, r.Client.Do(func() error { return flood(r.Cluster, requests) }))
	t.Logf("%d connection requests in %v", requests, time.Since(at).Round(time.Millisecond))
	letPass(t, 6*time.Second) // longer than the window of the stall verdicts
	after := r.reports(t, present)
	var opened int64
	for i, h := range present {
		was, is := &before[i].Status, &after[i].Status
		if *is.Convergences != *was.Convergences || *is.Epoch != *was.Epoch || len(is.Members) != len(present) {
			t.Errorf("%s converged %d times, epoch %d -> %d, members %v", h.Name, *is.Convergences-*was.Convergences, *was.Epoch, *is.Epoch, is.Members)
		}
		if is.Stall != nil {
			t.Errorf("%s is called stalled: %+v", h.Name, is.Stall)
		}
		log, err := os.ReadFile(h.AgentLog())
		must(t, err)
		if strings.Contains(string(log), "Stall verdict changed") {
			t.Errorf("%s was called stalled at times", h.Name)
		}
		opened += *is.Traffic.Rules[0].Opened - *was.Traffic.Rules[0].Opened
	}
	if opened < requests/2 {
		t.Errorf("the hosts accepted %d of %d requests", opened, requests)
	}
	must(t, late.Start())
	r.converged(t, r.Hosts...)
	letPass(t, 2*time.Second)
	report := stop(t, held)
	none(t, report.Failed(), len(report.Attempts))
	if n := len(report.HostOf()); n != 120 {
		t.Errorf("%d of 120 clients were connected", n)
	}
}

func (r *Rig) reports(t *testing.T, hosts []*Host) []*v1alpha1.LoadBalancingHost {
	t.Helper()
	var out []*v1alpha1.LoadBalancingHost
	for _, h := range hosts {
		is, err := h.Query(t.Context())
		must(t, err)
		out = append(out, is)
	}
	return out
}

// flood sends SYNs from ever new addresses of 10.78.0.0/16 and ports, in bursts.
func flood(cluster *v1alpha1.LoadBalancingCluster, requests int) error {
	vip, err := netip.ParseAddr(cluster.Spec.VirtualIPs[0])
	if err != nil {
		return err
	}
	return sendSYNs(v1alpha1.ClusterMAC(cluster.Spec.EffectiveMode(), vip), requests)
}

// sendSYNs sends connection requests to the virtual IP's HTTP port, each from another address of 10.78.0.0/16, out of the
// interface of the calling thread's namespace. It pauses between bursts: what full queues throw away reaches no host.
func sendSYNs(clusterMAC net.HardwareAddr, requests int) error {
	const burst, rest = 1000, 5 * time.Millisecond
	link, err := netlink.LinkByName(hostInterface)
	if err != nil {
		return fmt.Errorf("find %s: %w", hostInterface, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	to := &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index, Halen: 6}
	copy(to.Addr[:], clusterMAC)
	frame := synFrame(clusterMAC)[:54]
	for i := range requests {
		stamp(frame, uint32(i))
		for {
			err = unix.Sendto(fd, frame, 0, to)
			if !errors.Is(err, unix.ENOBUFS) {
				break
			}
			time.Sleep(rest)
		}
		if err != nil {
			return fmt.Errorf("send: %w", err)
		}
		if i%burst == burst-1 {
			time.Sleep(rest)
		}
	}
	return nil
}

// stamp gives a frame of synFrame its n-th source, and the checksums.
func stamp(frame []byte, n uint32) {
	ip, tcp := frame[14:34], frame[34:54]
	binary.BigEndian.PutUint16(ip[14:], uint16(n))
	binary.BigEndian.PutUint16(ip[4:], ^uint16(n)) // keeps the header's checksum
	binary.BigEndian.PutUint16(tcp, uint16(1024+n>>16*7919+n*31%50000))
	binary.BigEndian.PutUint32(tcp[4:], n*2654435761)
	binary.BigEndian.PutUint16(tcp[14:], 64240)
	binary.BigEndian.PutUint16(tcp[16:], 0)
	sum := uint32(6 + len(tcp))
	for _, part := range [][]byte{ip[12:], tcp} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(tcp[16:], ^uint16(sum))
}
