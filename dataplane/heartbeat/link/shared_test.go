// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"regexp"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
)

var otherMAC = net.HardwareAddr{0x03, 0xbf, 10, 77, 0, 200}

// uses returns how often the interface counts a multicast address.
func uses(t *testing.T, l netlink.Link, mac net.HardwareAddr) string {
	t.Helper()
	table, err := os.ReadFile("/proc/thread-self/net/dev_mcast")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(fmt.Sprintf(`(?m)^%d\s+\S+\s+(\d+)\s+\d+\s+%s$`, l.Attrs().Index, hex.EncodeToString(mac)))
	m := line.FindSubmatch(table)
	if m == nil {
		return "0"
	}
	return string(m[1])
}

// Clusters with one heartbeat address do not take it from each other, whoever ends first.
func TestGroupIsHeardUntilTheLastConnEnds(t *testing.T) {
	nstest.Enter(t)
	_, b := nstest.Veth(t, "a0", "b0")
	first, second := open(t, b, clusterMAC), open(t, b, clusterMAC)
	other := open(t, b, otherMAC)
	for i, step := range []struct {
		end            *Conn
		cluster, other string
	}{{nil, "2", "1"}, {first, "1", "1"}, {other, "1", "0"}, {second, "0", "0"}} {
		if step.end != nil {
			if err := step.end.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if cluster, other := uses(t, b, clusterMAC), uses(t, b, otherMAC); cluster != step.cluster || other != step.other {
			t.Errorf("step %d: the addresses count %s and %s uses, want %s and %s", i, cluster, other, step.cluster, step.other)
		}
	}
}

// Whatever clusters share the interface, the receiver hears each frame once, and tells whose it is.
func TestReceiverHearsEachFrameOnce(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	// Two clusters that heartbeat to one address, a third by broadcast, and the second once more on this host.
	to := listenOn(t, b)
	for _, dst := range []net.HardwareAddr{clusterMAC, clusterMAC, otherMAC} {
		open(t, b, dst)
	}
	var want []heartbeat.Cluster
	for i, dst := range []net.HardwareAddr{clusterMAC, clusterMAC, otherMAC, broadcast} {
		m := heartbeat.Message{HostID: 1, ClusterIP: [4]byte{10, 77, 0, byte(i)}}
		m.ClusterKey = uint32(i)
		if err := open(t, a, dst).Send(m.AppendTo(nil)); err != nil {
			t.Fatal(err)
		}
		want = append(want, heartbeat.Cluster{IP: m.ClusterIP, Key: m.ClusterKey})
	}
	for i := range want {
		payload, _, err := to.Receive(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := heartbeat.ClusterOf(payload); !ok || got != want[i] {
			t.Errorf("frame %d is of %v, %t, want %v", i, got, ok, want[i])
		}
	}
	sendRaw(t, a, frame(a.Attrs().HardwareAddr, heartbeat.EtherType, "the last one"))
	if got, _, err := to.Receive(within(t)); err != nil || !bytes.HasPrefix(got, []byte("the last one")) {
		t.Errorf("a frame came twice: %x, error %v", got[:min(len(got), 32)], err)
	}
}

// Heartbeats of a VLAN that the node is not in belong to another segment, and so do those to another host.
func TestFramesForOthersAreIgnored(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	to := hear(t, b, clusterMAC)
	untagged := frame(a.Attrs().HardwareAddr, heartbeat.EtherType, "of VLAN 7")
	sendRaw(t, a, bytes.Join([][]byte{untagged[:12], {0x81, 0, 0, 7}, untagged[12:]}, nil))
	unicast := frame(a.Attrs().HardwareAddr, heartbeat.EtherType, "to another host")
	copy(unicast, net.HardwareAddr{2, 0, 0, 0, 0, 9})
	sendRaw(t, a, unicast)
	sendRaw(t, a, frame(a.Attrs().HardwareAddr, heartbeat.EtherType, "to all"))
	if got, _, err := to.Receive(within(t)); err != nil || !bytes.HasPrefix(got, []byte("to all")) {
		t.Errorf("received %q, error %v", got, err)
	}
}

// A queue that one cluster filled has room for the next one.
func TestConnsShareNoBuffer(t *testing.T) {
	nstest.Enter(t)
	a, _ := nstest.Veth(t, "a0", "b0")
	stuck := &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: a.Attrs().Index, Handle: netlink.MakeHandle(1, 0),
			Parent: netlink.HANDLE_ROOT},
		Rate: 1000, Limit: 1 << 20, Buffer: 3_000_000_000 / 64,
	}
	if err := netlink.QdiscAdd(stuck); err != nil {
		t.Fatalf("add tbf: %v", err)
	}
	first, second := open(t, a, clusterMAC), open(t, a, otherMAC)
	var err error
	for range 1000 {
		if err = first.Send(make([]byte, heartbeat.Size)); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatal("the first cluster's buffer never fills")
	}
	if err := second.Send(make([]byte, heartbeat.Size)); err != nil {
		t.Errorf("the second cluster: %v", err)
	}
}

// A socket to send by takes no frames: it would hold them for ever.
func TestConnQueuesNothing(t *testing.T) {
	nstest.Enter(t)
	a, b := nstest.Veth(t, "a0", "b0")
	c, to := open(t, b, clusterMAC), listenOn(t, b)
	if err := open(t, a, clusterMAC).Send(make([]byte, heartbeat.Size)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := to.Receive(within(t)); err != nil {
		t.Fatal(err)
	}
	var recvErr error
	if err := c.raw.Control(func(fd uintptr) {
		_, _, recvErr = unix.Recvfrom(int(fd), make([]byte, heartbeat.Size), unix.MSG_DONTWAIT)
	}); err != nil {
		t.Fatal(err)
	}
	if recvErr != unix.EAGAIN {
		t.Errorf("reading it gives %v, want EAGAIN", recvErr)
	}
}
