// SPDX-License-Identifier: Apache-2.0

package qdisc

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/internal/nstest"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
)

const vip = "10.77.0.100"

// run executes a command in the test's network namespace: the child of a locked thread is in it too.
func run(t *testing.T, command string) {
	t.Helper()
	args := strings.Fields(command)
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skipf("needs %s: %v", args[0], err)
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// stallRecipe stops what is sent from the virtual IP and nothing else.
func stallRecipe(t *testing.T, dev string) {
	t.Helper()
	run(t, "tc qdisc add dev "+dev+" root handle 1: htb default 20")
	run(t, "tc class add dev "+dev+" parent 1: classid 1:10 htb rate 8bit burst 1 cburst 1")
	run(t, "tc class add dev "+dev+" parent 1: classid 1:20 htb rate 1gbit")
	run(t, "tc filter add dev "+dev+" parent 1: protocol ip u32 match ip src "+vip+"/32 flowid 1:10")
}

// wire has a virtual IP on one end of a veth pair and a static neighbour at the other.
type wire struct {
	t      *testing.T
	eth0   netlink.Link
	reader *Reader
}

func newWire(t *testing.T) *wire {
	t.Helper()
	nstest.Enter(t)
	eth0, _ := nstest.Veth(t, "eth0", "x0")
	nstest.Address(t, nstest.Up(t, "lo"), vip+"/32")
	nstest.Address(t, eth0, "10.77.0.1/24")
	err := netlink.NeighSet(&netlink.Neigh{
		LinkIndex: eth0.Attrs().Index, IP: net.IPv4(10, 77, 0, 9), State: netlink.NUD_PERMANENT,
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &wire{t, eth0, open(t, eth0)}
}

// send sends one datagram to the neighbour from one of the node's addresses.
func (w *wire) send(from string) {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	src := &unix.SockaddrInet4{}
	copy(src.Addr[:], net.ParseIP(from).To4())
	if err := unix.Bind(fd, src); err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Sendto(fd, []byte("reply"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 77, 0, 9}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) leaves() []stall.Leaf {
	w.t.Helper()
	return read(w.t, w.reader)
}

func open(tb testing.TB, link netlink.Link) *Reader {
	tb.Helper()
	r, err := Open(link.Attrs().Index)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(r.Close)
	return r
}

func read(tb testing.TB, r *Reader) []stall.Leaf {
	tb.Helper()
	l, err := r.Read()
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func names(leaves []stall.Leaf) []string {
	var out []string
	for _, l := range leaves {
		out = append(out, l.Name)
	}
	slices.Sort(out)
	return out
}

func namesOf(nodes []node) []string {
	var out []stall.Leaf
	for _, n := range nodes {
		out = append(out, n.leaf)
	}
	return names(out)
}

func TestLeafNames(t *testing.T) {
	for name, tc := range map[string]struct {
		setup []string
		want  []string
	}{
		"noqueue": {nil, nil},
		"htb": {[]string{
			"tc qdisc add dev eth0 root handle 1: htb default 20",
			"tc class add dev eth0 parent 1: classid 1:1 htb rate 1gbit",
			"tc class add dev eth0 parent 1:1 classid 1:10 htb rate 1mbit",
			"tc class add dev eth0 parent 1:1 classid 1:20 htb rate 1mbit",
		}, []string{"class 1:10 (eth0)", "class 1:20 (eth0)"}},
		"htb with a discipline of its own in a class": {[]string{
			"tc qdisc add dev eth0 root handle 1: htb default 20",
			"tc class add dev eth0 parent 1: classid 1:10 htb rate 1mbit",
			"tc qdisc add dev eth0 parent 1:10 handle 10: pfifo limit 5",
		}, []string{"class 1:10 (eth0)"}},
		"htb in htb": {[]string{
			"tc qdisc add dev eth0 root handle 1: htb default 10",
			"tc class add dev eth0 parent 1: classid 1:10 htb rate 1mbit",
			"tc qdisc add dev eth0 parent 1:10 handle 2: htb default 5",
			"tc class add dev eth0 parent 2: classid 2:5 htb rate 1mbit",
		}, []string{"class 2:5 (eth0)"}},
		"tbf": {[]string{"tc qdisc add dev eth0 root handle 3: tbf rate 1mbit burst 10k limit 1mb"},
			[]string{"qdisc tbf 3: (eth0)"}},
		"pfifo": {[]string{"tc qdisc add dev eth0 root handle 4: pfifo"}, []string{"qdisc pfifo 4: (eth0)"}},
		"tbf+pfifo": {[]string{"tc qdisc add dev eth0 root handle 3: tbf rate 1mbit burst 10k limit 1mb",
			"tc qdisc add dev eth0 parent 3:1 handle 4: pfifo"}, []string{"qdisc pfifo 4: (eth0)"}},
		"ingress only": {[]string{"tc qdisc add dev eth0 clsact"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t)
			for _, c := range tc.setup {
				run(t, c)
			}
			if diff := cmp.Diff(tc.want, names(w.leaves())); diff != "" {
				t.Errorf("leaves (-want +got):\n%s", diff)
			}
		})
	}
}

// The seed bug: the class holds the backlog while the device goes on sending.
func TestStuckClassIsSeenBesideOneThatFlows(t *testing.T) {
	w := newWire(t)
	stallRecipe(t, "eth0")
	for range 20 {
		w.send(vip)
	}
	before := w.leaves()
	for range 5 {
		w.send(vip)
		w.send("10.77.0.1")
	}
	after := w.leaves()
	get := func(leaves []stall.Leaf, name string) stall.Leaf {
		i := slices.IndexFunc(leaves, func(l stall.Leaf) bool { return l.Name == name })
		if i < 0 {
			t.Fatalf("no %s in %v", name, leaves)
		}
		return leaves[i]
	}
	taken := func(l stall.Leaf) uint64 { return l.Packets + l.Dropped }
	stuck, was := get(after, "class 1:10 (eth0)"), get(before, "class 1:10 (eth0)")
	if stuck.Sent != was.Sent || stuck.Packets < 20 || taken(stuck) != taken(was)+5 {
		t.Errorf("class 1:10 before %+v, after five more packets %+v", was, stuck)
	}
	flows, was := get(after, "class 1:20 (eth0)"), get(before, "class 1:20 (eth0)")
	if flows.Sent != was.Sent+5 || flows.Packets+flows.Bytes > 0 {
		t.Errorf("class 1:20 before %+v, after five more packets %+v", was, flows)
	}
}

// The whole way from the kernel's queues to the verdict and back, with time as fast as the test.
func TestVerdictOnRealQueues(t *testing.T) {
	w := newWire(t)
	stallRecipe(t, "eth0")
	d := stall.NewDetector(stall.Settings{})
	s := stall.Sample{}
	observe := func() stall.Verdict {
		s.At += 500 * time.Millisecond
		s.Leaves = w.leaves()
		v, _ := d.Observe(s)
		return v
	}
	var v stall.Verdict
	for range 12 {
		for range 2 {
			w.send(vip)
			s.Answered, s.SYNs, s.SYNACKs = s.Answered+1, s.SYNs+1, s.SYNACKs+1
		}
		w.send("10.77.0.1")
		v = observe()
	}
	if v.Reason != v1alpha1.StallEgressQueue || v.Queue != "class 1:10 (eth0)" {
		t.Fatalf("verdict %+v", v)
	}
	run(t, "tc qdisc del dev eth0 root")
	for range 12 {
		w.send(vip)
		s.Answered, s.SYNs, s.SYNACKs, s.Completed = s.Answered+1, s.SYNs+1, s.SYNACKs+1, s.Completed+1
		v = observe()
	}
	if v.Stalled() {
		t.Errorf("after the queue is gone: %+v", v)
	}
}

// On a bridge (as on a bond or VLAN) the queues are those of the ports.
func TestLeavesBelow(t *testing.T) {
	w := newWire(t)
	run(t, "ip link add br0 type bridge")
	run(t, "ip link set eth0 master br0")
	run(t, "tc qdisc add dev eth0 root handle 4: pfifo")
	br0 := nstest.Up(t, "br0")
	got := read(t, open(t, br0))
	if diff := cmp.Diff([]string{"qdisc pfifo 4: (eth0)"}, names(got)); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
	if below := w.leaves(); len(below) != 1 {
		t.Errorf("the port itself has %v", below)
	}
}

func TestReadLeavesOfInterfaceThatIsGone(t *testing.T) {
	nstest.Enter(t)
	r, err := Open(4711)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Read(); err == nil {
		t.Error("no error")
	}
}

// Multi-queue devices are not at hand in a namespace: what the kernel dumps for one, as tc shows it on a NIC.
func TestMultiQueue(t *testing.T) {
	qdiscs := []node{
		{handle: 0, parent: netlink.HANDLE_ROOT, kind: "mq", counts: true},
		{handle: 0, parent: 1, kind: "fq_codel", counts: true},
		{handle: 0, parent: 2, kind: "fq_codel", counts: true},
	}
	classes := []node{
		{handle: 1, parent: netlink.HANDLE_ROOT, kind: "mq", counts: true},
		{handle: 2, parent: netlink.HANDLE_ROOT, kind: "mq", counts: true},
		{handle: 77, parent: 0, kind: "fq_codel"}, // a flow of the moment
	}
	want := []string{"transmit queue 0 (eth0)", "transmit queue 1 (eth0)"}
	if diff := cmp.Diff(want, namesOf(leaves("eth0", qdiscs, classes))); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
}
