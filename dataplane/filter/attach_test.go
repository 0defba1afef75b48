// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// node is a host with the virtual IP on lo, and a client on the other end of a veth pair
// who writes and reads frames.
type node struct {
	t       *testing.T
	link    netlink.Link
	config  InterfaceConfig
	cluster Config
	client  *packet.Conn
}

// served is a cluster's filter and its interface, the only one's on it.
type served struct {
	*Filter
	port *Interface
}

func (s *served) Hook() Hook { return s.port.Hook() }

func (s *served) Close() error { return errors.Join(s.Filter.Close(), s.port.Close()) }

func (s *served) Remove() error { return errors.Join(s.Filter.Remove(), s.port.Remove()) }

func newNode(t *testing.T) *node {
	t.Helper()
	nstest.Enter(t)
	inside, outside := nstest.Veth(t, "node", "client")
	nstest.Address(t, inside, "10.0.0.1/24")
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	nstest.Address(t, lo, vip4.String()+"/32")
	n := &node{
		t:       t,
		config:  InterfaceConfig{Root: filepath.Join(mountBPF(t), "wlbs")},
		cluster: Config{Cluster: "web", MaxConnections: 1024, ClusterMAC: testClusterMAC},
	}
	n.use(inside, outside)
	return n
}

// use makes a veth pair the node's interface and the client's.
func (n *node) use(inside, outside netlink.Link) {
	n.t.Helper()
	n.link = inside
	n.config.Ifindex, n.config.HostMAC = inside.Attrs().Index, inside.Attrs().HardwareAddr
	if err := netlink.NeighSet(n.neighbour()); err != nil {
		n.t.Fatal(err)
	}
	client, err := packet.Listen(&net.Interface{Index: outside.Attrs().Index, Name: "client"}, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	n.client = client
	n.t.Cleanup(func() { _ = client.Close() })
}

// recreate makes the interface go away and come back under another index.
func (n *node) recreate() {
	n.t.Helper()
	if err := netlink.LinkDel(n.link); err != nil {
		n.t.Fatal(err)
	}
	inside, outside := nstest.Veth(n.t, "node", "client")
	nstest.Address(n.t, inside, "10.0.0.1/24")
	n.use(inside, outside)
}

// neighbour is the client as the host's kernel knows it, since nobody answers for it.
func (n *node) neighbour() *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: n.config.Ifindex, IP: client4.AsSlice(), HardwareAddr: testClientMAC, State: netlink.NUD_PERMANENT}
}

func mountBPF(t testing.TB) string {
	t.Helper()
	nstest.RequireRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatalf("mount a bpf file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (n *node) open(change ...func(*InterfaceConfig)) *served {
	n.t.Helper()
	i := n.openInterface(change...)
	return &served{n.openCluster(i, n.cluster), i}
}

func (n *node) openInterface(change ...func(*InterfaceConfig)) *Interface {
	n.t.Helper()
	config := n.config
	for _, c := range change {
		c(&config)
	}
	i, err := OpenInterface(config)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = i.Close() })
	return i
}

func (n *node) openCluster(i *Interface, config Config) *Filter {
	n.t.Helper()
	f, err := i.Open(config)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = f.Close() })
	return f
}

// serve opens the filter as owner of all buckets, with a lease.
func (n *node) serve(change ...func(*InterfaceConfig)) *served {
	n.t.Helper()
	f := n.open(change...)
	if err := errors.Join(f.Apply(tableOf(Slot{Own: bucket.All})), f.RenewLease(Now()+time.Hour)); err != nil {
		n.t.Fatal(err)
	}
	return f
}

func (n *node) send(frame []byte) {
	n.t.Helper()
	if _, err := n.client.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])}); err != nil {
		n.t.Fatal(err)
	}
}

// receive waits for a frame that match takes, nil if none comes in the time given.
func (n *node) receive(within time.Duration, match func(frame []byte) bool) []byte {
	n.t.Helper()
	if err := n.client.SetReadDeadline(time.Now().Add(within)); err != nil {
		n.t.Fatal(err)
	}
	buffer := make([]byte, 2048)
	for {
		size, _, err := n.client.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			n.t.Fatal(err)
		}
		if match(buffer[:size]) {
			return buffer[:size]
		}
	}
}

func tcpSegment(sport uint16, flags uint8) func([]byte) bool {
	return func(f []byte) bool {
		return len(f) >= 54 && binary.BigEndian.Uint16(f[12:]) == etherTypeIPv4 && f[23] == tcpProtocol &&
			netip.AddrFrom4([4]byte(f[26:30])) == vip4 && binary.BigEndian.Uint16(f[36:]) == sport && f[47] == flags
	}
}

// segment is one with the checksum that the kernel wants.
func segment(sport uint16, flags uint8, seq, ack uint32) []byte {
	f := packetFrom(sport, flags).bytes()
	tcp := f[34:]
	binary.BigEndian.PutUint32(tcp[4:], seq)
	binary.BigEndian.PutUint32(tcp[8:], ack)
	binary.BigEndian.PutUint16(tcp[14:], 65535)
	pseudo := append(client4.AsSlice(), vip4.AsSlice()...)
	pseudo = append(pseudo, 0, tcpProtocol, 0, byte(len(tcp)))
	binary.BigEndian.PutUint16(tcp[16:], ^onesComplement(uint32(onesComplement(0, pseudo)), tcp))
	return f
}

func packetFrom(sport uint16, flags uint8) packetSpec {
	return packetSpec{src: client4, dst: vip4, sport: sport, dport: 80, flags: flags}
}

// listen accepts connections to port 80 of the virtual IP.
func (n *node) listen() {
	n.t.Helper()
	l, err := net.Listen("tcp4", vip4.String()+":80")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
}

// connect does the client's part of a handshake. The frames go to the cluster MAC.
func (n *node) connect(sport uint16) {
	n.t.Helper()
	n.send(segment(sport, flagSYN, 1000, 0))
	answer := n.receive(15*time.Second, tcpSegment(sport, flagSYN|flagACK))
	if answer == nil {
		n.t.Fatal("no SYN-ACK: the SYN did not reach the stack, or the answer did not leave")
	}
	n.send(segment(sport, flagACK, 1001, binary.BigEndian.Uint32(answer[38:])+1))
}

// await polls until check holds: the tracking program runs some time after send.
func (n *node) await(what string, check func() bool) {
	n.t.Helper()
	eventually.Must(n.t, 15*time.Second, what, func(context.Context) error {
		if !check() {
			return errors.New("not seen yet")
		}
		return nil
	})
}

func (n *node) tracked(f *served) int {
	n.t.Helper()
	c, err := f.Connections(Now())
	if err != nil {
		n.t.Fatal(err)
	}
	return c.Count
}

// pins is the directory of the interface's pins.
func (n *node) pins() string { return interfacePath(n.config.Root, n.config.Ifindex) }

func (n *node) linkIDs() map[string]link.ID {
	n.t.Helper()
	ids := map[string]link.ID{}
	for _, pin := range []string{"xdp_link", "ingress_link", "egress_link"} {
		l, err := link.LoadPinnedLink(filepath.Join(n.pins(), pin), nil)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			n.t.Fatal(err)
		}
		info, err := l.Info()
		if err != nil {
			n.t.Fatal(err)
		}
		ids[pin] = info.ID
		if err := l.Close(); err != nil {
			n.t.Fatal(err)
		}
	}
	return ids
}

func (n *node) requireNoPins() {
	n.t.Helper()
	if _, err := os.Stat(n.config.Root); !errors.Is(err, os.ErrNotExist) {
		n.t.Errorf("the pin path is still there: %v", err)
	}
}

// tcxSides are where TCX programs may be: nowhere on a kernel without.
func tcxSides() []ebpf.AttachType {
	if !nstest.HasTCX() {
		return nil
	}
	return []ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress}
}

func (n *node) requireNothingLeft(programs ...ebpf.ProgramID) {
	n.t.Helper()
	n.requireNoPins()
	for _, at := range tcxSides() {
		result, err := link.QueryPrograms(link.QueryOptions{Target: n.config.Ifindex, Attach: at})
		if err != nil {
			n.t.Fatal(err)
		}
		if len(result.Programs) > 0 {
			n.t.Errorf("%s: %d programs are still attached", at, len(result.Programs))
		}
	}
	if n.hasXDP() {
		n.t.Error("an XDP program is still attached")
	}
	if left := n.clsact(); left != nil {
		n.t.Errorf("still there: %v", left)
	}
	for _, id := range programs {
		n.await("the kernel frees the program", func() bool {
			p, err := ebpf.NewProgramFromID(id)
			if err == nil {
				_ = p.Close()
			}
			return errors.Is(err, os.ErrNotExist)
		})
	}
}

// clsact describes the qdisc and its filters, nil if there is none.
func (n *node) clsact() []string {
	n.t.Helper()
	l, err := netlink.LinkByIndex(n.config.Ifindex)
	if err != nil {
		n.t.Fatal(err)
	}
	qdiscs, err := netlink.QdiscList(l)
	if err != nil {
		n.t.Fatal(err)
	}
	if !slices.ContainsFunc(qdiscs, func(q netlink.Qdisc) bool { return q.Type() == "clsact" }) {
		return nil
	}
	found := []string{"clsact"}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := netlink.FilterList(l, parent)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, f := range filters {
			found = append(found, fmt.Sprint(f.(*netlink.BpfFilter).Name))
		}
	}
	return found
}

func (n *node) hasXDP() bool {
	n.t.Helper()
	l, err := netlink.LinkByIndex(n.config.Ifindex)
	if err != nil {
		n.t.Fatal(err)
	}
	return l.Attrs().Xdp != nil && l.Attrs().Xdp.Attached
}

func programIDs(t *testing.T, i *Interface) []ebpf.ProgramID {
	t.Helper()
	var ids []ebpf.ProgramID
	for _, p := range []*ebpf.Program{i.objects.WlbsXdp, i.objects.WlbsIngress, i.objects.WlbsEgress} {
		info, err := p.Info()
		if err != nil {
			t.Fatal(err)
		}
		id, _ := info.ID()
		ids = append(ids, id)
	}
	return ids
}

// requireHook skips the test on a kernel that does not have the hook.
func requireHook(t *testing.T, hook Hook) {
	t.Helper()
	if hook == TCX {
		nstest.RequireTCX(t)
	}
}

// besideXDP is what Auto takes where the XDP slot is not to be had.
func besideXDP() Hook {
	if nstest.HasTCX() {
		return TCX
	}
	return Clsact
}

// A client resolves the virtual IP and connects, through the kernel's own stack. The SYN
// goes to a multicast MAC: without a change of pkt_type the stack would drop it in silence.
func TestServesClient(t *testing.T) {
	for _, hook := range []Hook{XDP, TCX, Clsact} {
		t.Run(hook.String(), func(t *testing.T) {
			requireHook(t, hook)
			n := newNode(t)
			f := n.serve(func(c *InterfaceConfig) { c.Hook = hook })
			if f.Hook() != hook {
				t.Fatalf("hook %s", f.Hook())
			}
			n.listen()
			n.send(request(client4, vip4))
			want := arp{arpReply, testClusterMAC, testClientMAC, vip4, client4}.bytes(testClientMAC, n.config.HostMAC)
			got := n.receive(15*time.Second, func(f []byte) bool {
				return binary.BigEndian.Uint16(f[12:]) == etherTypeARP && binary.BigEndian.Uint16(f[20:]) == arpReply
			})
			compare(t, want, got)
			n.connect(40000)
			n.await("the connection is tracked", func() bool { return n.tracked(f) == 1 })
			c, err := f.Counters()
			if err != nil {
				t.Fatal(err)
			}
			if c.Admitted != 2 || c.Delivered != 2 || c.SYNACK != 1 || c.HandshakesCompleted != 1 || c.ResolutionAnswered != 1 {
				t.Errorf("counters: %+v", c)
			}
			if err := f.Apply(tableOf(Slot{})); err != nil {
				t.Fatal(err)
			}
			n.send(segment(50000, flagSYN, 1000, 0))
			if n.receive(200*time.Millisecond, tcpSegment(50000, flagSYN|flagACK)) != nil {
				t.Error("a client of a foreign bucket was answered")
			}
		})
	}
}

// inClientNamespace moves the client's end of the pair to a namespace of its own, and runs
// do in a goroutine there.
func (n *node) inClientNamespace(do func() error) <-chan error {
	n.t.Helper()
	ready, result := make(chan error), make(chan error, 1)
	var thread int
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and its namespace with it.
		runtime.LockOSThread()
		thread = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		ready <- err
		if err == nil {
			err = <-ready // the interface is there
		}
		if err == nil {
			err = do()
		}
		result <- err
	}()
	if err := <-ready; err != nil {
		n.t.Fatal(err)
	}
	outside, err := netlink.LinkByName("client")
	if err == nil {
		err = netlink.LinkSetNsPid(outside, thread)
	}
	ready <- err
	return result
}

// A Linux client of its own resolves the virtual IP, connects and uploads. Its segments come
// in bunches that GSO and GRO keep together, mostly outside of an skb's linear part.
func TestServesLinuxClient(t *testing.T) {
	const size = 8 << 20
	for _, hook := range []Hook{XDP, TCX, Clsact} {
		t.Run(hook.String(), func(t *testing.T) {
			requireHook(t, hook)
			n := newNode(t)
			if err := netlink.NeighDel(n.neighbour()); err != nil {
				t.Fatal(err)
			}
			f := n.serve(func(c *InterfaceConfig) { c.Hook = hook })
			l, err := net.Listen("tcp4", vip4.String()+":80")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			uploaded := n.inClientNamespace(func() error { return upload(size) })
			end := time.Now().Add(uploadLimit)
			if err := l.(*net.TCPListener).SetDeadline(end); err != nil {
				t.Fatal(err)
			}
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.SetDeadline(end); err != nil {
				t.Fatal(err)
			}
			got, err := io.Copy(io.Discard, server)
			if err := errors.Join(err, server.Close(), <-uploaded); err != nil {
				t.Fatal(err)
			}
			c, err := f.Counters()
			if err != nil {
				t.Fatal(err)
			}
			if got != size || c.Invalid+c.Rejected > 0 || c.HandshakesCompleted != 1 {
				t.Errorf("%d octets came; %+v", got, c)
			}
			if c.Delivered < size/1500 || c.Delivered > c.Admitted {
				t.Errorf("admitted %d and delivered %d segments of 1500 octets at most", c.Admitted, c.Delivered)
			}
			n.await("both FINs are seen", func() bool {
				connections, err := f.Connections(Now())
				if err != nil {
					t.Fatal(err)
				}
				return connections.Count == 1 && connections.Idle == allBuckets()
			})
		})
	}
}

// uploadLimit is far beyond what an upload takes on a busy machine.
const uploadLimit = 30 * time.Second

// upload runs in the client's namespace.
func upload(size int) error {
	l, err := netlink.LinkByName("client")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(client4.String() + "/24")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrAdd(l, addr), netlink.LinkSetUp(l)); err != nil {
		return err
	}
	end := time.Now().Add(uploadLimit)
	dialer := net.Dialer{Deadline: end}
	conn, err := dialer.Dial("tcp4", vip4.String()+":80")
	if err != nil {
		return err
	}
	if err := conn.SetDeadline(end); err != nil {
		return errors.Join(err, conn.Close())
	}
	_, err = conn.Write(make([]byte, size))
	err = errors.Join(err, conn.(*net.TCPConn).CloseWrite())
	// The namespace, and the veth pair with it, end with this goroutine: the server goes first.
	_, readErr := io.Copy(io.Discard, conn)
	return errors.Join(err, readErr, conn.Close())
}

func TestReopenKeepsEverything(t *testing.T) {
	n := newNode(t)
	f := n.serve()
	if f.Hook() != XDP {
		t.Fatalf("hook %s: veth has native XDP", f.Hook())
	}
	n.listen()
	n.connect(40000)
	n.await("the connection is tracked", func() bool { return n.tracked(f) == 1 })
	links, old := n.linkIDs(), programIDs(t, f.port)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	n.connect(40001) // nobody has the filter open

	f = n.open()
	compare(t, links, n.linkIDs())
	if f.Hook() != XDP {
		t.Errorf("hook %s", f.Hook())
	}
	if got := n.tracked(f); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
	n.connect(40002) // under the table and the lease of the former process
	for _, id := range old {
		n.await("the former program is gone", func() bool {
			p, err := ebpf.NewProgramFromID(id)
			if err == nil {
				_ = p.Close()
			}
			return err != nil
		})
	}
	ids := programIDs(t, f.port)
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft(ids...)
	for range 2 {
		if err := Cleanup(n.config.Root); err != nil {
			t.Errorf("a second clean-up: %v", err)
		}
	}
	n.requireNoPins()
}

// flood sends frames in turn until stop closes, and reports how many of each the device took.
func (n *node) flood(stop <-chan struct{}, frames ...[]byte) <-chan []uint64 {
	result := make(chan []uint64, 1)
	go func() {
		sent := make([]uint64, len(frames))
		for i := 0; ; i = (i + 1) % len(frames) {
			select {
			case <-stop:
				result <- sent
				return
			default:
			}
			if _, err := n.client.WriteTo(frames[i], &packet.Addr{HardwareAddr: testClusterMAC}); err == nil {
				sent[i]++ // else the device's queue is full
			}
		}
	}()
	return result
}

// Programs are replaced under traffic, back and forth between the hooks too. Not one frame
// of an own bucket is lost on the way to the stack, and not one of a foreign one gets there.
func TestReopenLosesNothing(t *testing.T) {
	t.Run("XDP and TCX", func(t *testing.T) {
		requireHook(t, TCX)
		reopen(t, []Hook{XDP, XDP, TCX, TCX})
	})
	t.Run("XDP and clsact", func(t *testing.T) {
		reopen(t, []Hook{XDP, XDP, Clsact, Clsact}, func(c *InterfaceConfig) { c.withoutTCX = true })
	})
}

func reopen(t *testing.T, hooks []Hook, change ...func(*InterfaceConfig)) {
	keepServing(t, hooks, hooks, nil, change...)
}

// keepServing moves the filter from hook to hook, by the next agent where move is nil.
func keepServing(t *testing.T, hooks, want []Hook, move func(*served, Hook) *served, change ...func(*InterfaceConfig)) {
	n := newNode(t)
	for _, c := range change {
		c(&n.config)
	}
	f := n.serve()
	own := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol, payload: 10}
	client := netip.AddrPortFrom(own.src, own.sport)
	foreign := own
	for foreign.sport++; mine(netip.AddrPortFrom(foreign.src, foreign.sport), AffinityNone) == mine(client, AffinityNone); {
		foreign.sport++
	}
	if err := f.Apply(tableOf(Slot{Own: mine(client, AffinityNone)})); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	result := n.flood(stop, own.bytes(), foreign.bytes())
	for i := range 12 {
		hook, want := hooks[i%len(hooks)], want[i%len(hooks)]
		if move != nil {
			f = move(f, hook)
		} else {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f = n.open(func(c *InterfaceConfig) { c.Hook = hook })
		}
		if f.Hook() != want || n.hasXDP() != (want == XDP) {
			t.Errorf("hook %s, XDP attached: %t; want %s", f.Hook(), n.hasXDP(), want)
		}
	}
	close(stop)
	sent := <-result
	var c Counters
	n.await("all frames are counted", func() bool {
		var err error
		if c, err = f.Counters(); err != nil {
			t.Fatal(err)
		}
		return c.Delivered >= sent[0] && c.Rejected >= sent[1]
	})
	if c.Delivered != sent[0] || c.Rejected != sent[1] || sent[0] < 1000 {
		t.Errorf("sent %d of an own and %d of a foreign bucket; %+v", sent[0], sent[1], c)
	}
}

func TestXDPSlotTaken(t *testing.T) {
	n := newNode(t)
	other, err := link.AttachXDP(link.XDPOptions{Interface: n.config.Ifindex, Program: passProgram(t), Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	if f, err := OpenInterface(withHook(n.config, XDP)); err == nil {
		_ = f.Remove()
		t.Fatal("took the XDP slot of another program")
	}
	n.requireNoPins() // of the failed attempt
	f := n.serve()
	if f.Hook() != besideXDP() {
		t.Fatalf("hook %s, want %s", f.Hook(), besideXDP())
	}
	n.listen()
	n.connect(40000)
	// Once the slot is free, the next agent takes it.
	if err := errors.Join(other.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	f = n.open()
	if f.Hook() != XDP {
		t.Errorf("hook %s, want XDP", f.Hook())
	}
	n.await("the connection is still tracked", func() bool { return n.tracked(f) == 1 })
}

// The hook moves in place, under traffic.
func TestSetHookLosesNothing(t *testing.T) {
	move := func(f *served, hook Hook) *served {
		if err := f.port.SetHook(hook); err != nil {
			t.Error(err)
		}
		return f
	}
	t.Run("XDP and TCX", func(t *testing.T) {
		requireHook(t, TCX)
		keepServing(t, []Hook{TCX, XDP, XDP, Auto}, []Hook{TCX, XDP, XDP, XDP}, move)
	})
	t.Run("XDP and clsact", func(t *testing.T) {
		keepServing(t, []Hook{Clsact, XDP, Clsact, Auto}, []Hook{Clsact, XDP, Clsact, XDP}, move,
			func(c *InterfaceConfig) { c.withoutTCX = true })
	})
}

// Where it cannot go, it stays as it is; and Auto takes the slot that another program left.
func TestSetHookWhereSlotIsTaken(t *testing.T) {
	n := newNode(t)
	other, err := link.AttachXDP(link.XDPOptions{Interface: n.config.Ifindex, Program: passProgram(t), Flags: link.XDPDriverMode})
	if err != nil {
		t.Fatal(err)
	}
	f := n.serve(func(c *InterfaceConfig) { c.Hook = besideXDP() })
	n.listen()
	sport := uint16(40000)
	serves := func(hook Hook) {
		t.Helper()
		if f.Hook() != hook {
			t.Errorf("hook %s, want %s", f.Hook(), hook)
		}
		sport++
		n.connect(sport)
		n.await("the connection is tracked", func() bool { return n.tracked(f) == int(sport-40000) })
	}
	serves(besideXDP())
	if err := f.port.SetHook(XDP); err == nil {
		t.Error("took the XDP slot of another program")
	}
	serves(besideXDP())
	for range 2 {
		if err := f.port.SetHook(Auto); err != nil {
			t.Error(err)
		}
		serves(besideXDP())
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.port.SetHook(Auto); err != nil {
		t.Error(err)
	}
	serves(XDP)
	if err := f.port.SetHook(Clsact + 1); err == nil {
		t.Error("took a hook that does not exist")
	}
	serves(XDP)
}

// A kernel without TCX: clsact serves in its place, and is shared with others.
func TestClsact(t *testing.T) {
	n := newNode(t)
	n.config.withoutTCX = true
	if f, err := OpenInterface(withHook(n.config, TCX)); !errors.Is(err, ebpf.ErrNotSupported) {
		t.Fatalf("opened %v with TCX: %v", f, err)
	}
	n.listen()
	for _, step := range []struct{ ask, want Hook }{{Auto, XDP}, {Clsact, Clsact}, {Auto, XDP}} {
		f := n.serve(func(c *InterfaceConfig) { c.Hook = step.ask })
		if f.Hook() != step.want || n.hasXDP() != (step.want == XDP) {
			t.Errorf("asked for %s: hook %s, XDP %t", step.ask, f.Hook(), n.hasXDP())
		}
		path := "kube-wlbs:" + n.pins()
		compare(t, []string{"clsact", path + "/ingress_program", path + "/egress_program"}, n.clsact())
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}

	other := n.config
	other.Root += "2"
	shared := n.open(func(c *InterfaceConfig) { *c = withHook(other, Clsact) })
	if got := len(n.clsact()); got != 5 {
		t.Errorf("%d parts of clsact for two filters: %v", got, n.clsact())
	}
	if err := Cleanup(n.config.Root); err != nil {
		t.Fatal(err)
	}
	n.config.Root = other.Root
	compare(t, []string{"clsact", "kube-wlbs:" + n.pins() + "/ingress_program", "kube-wlbs:" + n.pins() + "/egress_program"}, n.clsact())
	ids := programIDs(t, shared.port)
	if err := shared.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft(ids...)
}

// Programs that somebody else took away are missed, and the next one to open the interface attaches them.
func TestCheck(t *testing.T) {
	for _, hook := range []Hook{XDP, TCX, Clsact} {
		t.Run(hook.String(), func(t *testing.T) {
			if hook == TCX && !nstest.HasTCX() {
				t.Skip("needs TCX")
			}
			n := newNode(t)
			n.listen()
			for _, pin := range []string{"xdp_link", "ingress_link", "egress_link", "ingress_program", "egress_program"} {
				f := n.serve(func(c *InterfaceConfig) { c.Hook = hook })
				if err := f.port.Check(); err != nil {
					t.Fatal(err)
				}
				if os.Remove(filepath.Join(n.pins(), pin)) == nil {
					if err := f.port.Check(); err == nil || !strings.Contains(err.Error(), pin) {
						t.Errorf("without %s: %v", pin, err)
					}
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// From one way to attach to the other the filter never stops.
func TestClsactAndTCXReplaceEachOther(t *testing.T) {
	requireHook(t, TCX)
	n := newNode(t)
	n.listen()
	for i, hook := range []Hook{TCX, Clsact, TCX} {
		f := n.serve(func(c *InterfaceConfig) { c.Hook = hook })
		if f.Hook() != hook || (n.clsact() != nil) != (hook == Clsact) || (len(n.linkIDs()) == 2) != (hook == TCX) {
			t.Errorf("hook %s: %s, links %v, %v", hook, f.Hook(), n.linkIDs(), n.clsact())
		}
		n.connect(uint16(40000 + i))
		n.await("the connection is tracked", func() bool { return n.tracked(f) == i+1 })
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func passProgram(t *testing.T) *ebpf.Program {
	t.Helper()
	return constantProgram(t, xdpPass)
}

func withHook(c InterfaceConfig, h Hook) InterfaceConfig {
	c.Hook = h
	return c
}

func TestResizeKeepsConnections(t *testing.T) {
	n := newNode(t)
	f := n.serve()
	n.listen()
	n.connect(40000)
	n.await("the connection is tracked", func() bool { return n.tracked(f) == 1 })
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	links := n.linkIDs()
	n.cluster.MaxConnections = 4096
	f = n.open()
	compare(t, links, n.linkIDs())
	if got := n.tracked(f); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	n.connect(40001)
	n.await("the new table tracks", func() bool { return n.tracked(f) == 2 })
}

// Maps of another release's layout: its programs go on until the first Apply.
func TestOtherLayoutIsReplaced(t *testing.T) {
	n := newNode(t)
	f := n.serve()
	f.state.value.Header.Layout = layout + 1
	f.port.globals.value.Layout = layout + 1
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	n.listen()
	links := n.linkIDs()
	f = n.open()
	n.connect(40000)
	if err := errors.Join(f.RenewLease(Now()+time.Hour), f.Apply(tableOf(Slot{Own: bucket.All}))); err != nil {
		t.Fatal(err)
	}
	compare(t, links, n.linkIDs())
	n.connect(40001)
	n.await("the new maps track", func() bool { return n.tracked(f) == 1 })
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if f = n.open(); n.tracked(f) != 1 {
		t.Error("the new maps were not pinned")
	}
}

// The interface went away with its links, and came back.
func TestInterfaceIsRecreated(t *testing.T) {
	for _, hook := range []Hook{XDP, TCX, Clsact} {
		t.Run(hook.String(), func(t *testing.T) { recreateInterface(t, hook) })
	}
}

func recreateInterface(t *testing.T, hook Hook) {
	requireHook(t, hook)
	n := newNode(t)
	n.config.Hook = hook
	f := n.serve()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	n.recreate()
	f = n.open()
	// With XDP, too, a program is at traffic control, for what the host sends.
	onClsact := hook == Clsact || !nstest.HasTCX()
	if f.Hook() != hook || n.hasXDP() != (hook == XDP) || (n.clsact() != nil) != onClsact {
		t.Errorf("hook %s, XDP attached %t, %v", f.Hook(), n.hasXDP(), n.clsact())
	}
	if err := f.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft()
}

func TestCleanupAfterInterfaceIsGone(t *testing.T) {
	n := newNode(t)
	f := n.serve()
	if err := errors.Join(f.Close(), netlink.LinkDel(n.link)); err != nil {
		t.Fatal(err)
	}
	if err := Cleanup(n.config.Root); err != nil {
		t.Error(err)
	}
	n.requireNoPins()
}

func TestOpenChecksConfig(t *testing.T) {
	nstest.RequireRoot(t)
	good := InterfaceConfig{Ifindex: 1, Root: t.TempDir(), HostMAC: testHostMAC}
	for name, change := range map[string]func(*InterfaceConfig){
		"no interface":   func(c *InterfaceConfig) { c.Ifindex = 0 },
		"no host MAC":    func(c *InterfaceConfig) { c.HostMAC = nil },
		"unknown hook":   func(c *InterfaceConfig) { c.Hook = 9 },
		"not in a bpffs": func(*InterfaceConfig) {},
		"relative root":  func(c *InterfaceConfig) { c.Root = "web" },
	} {
		t.Run(name, func(t *testing.T) {
			config := good
			change(&config)
			if i, err := OpenInterface(config); err == nil {
				_ = i.Remove()
				t.Error("opened")
			}
		})
	}
	i := newRigs(t, XDP, mountBPF(t))
	for name, config := range map[string]Config{
		"short cluster MAC": {Cluster: "web", ClusterMAC: testClusterMAC[:5]},
		"no name":           {ClusterMAC: testClusterMAC},
		"another directory": {Cluster: "../web", ClusterMAC: testClusterMAC},
	} {
		t.Run(name, func(t *testing.T) {
			if f, err := i.Open(config); err == nil {
				_ = f.Remove()
				t.Error("opened")
			}
		})
	}
}
