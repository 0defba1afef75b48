// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

const (
	// shots and rounds: each round sends shots frames; the fastest of the rounds counts, as the one disturbed least.
	shots  = 1 << 20
	rounds = 5
	// liveFrames is BPF_F_TEST_XDP_LIVE_FRAMES: what the program redirects is really sent.
	liveFrames = 1 << 1
	// batch is how many frames the kernel redirects at once; a veth's ring has 256 places.
	batch = 64
)

// gun sends frames from ever new clients into one end of a veth pair, and counts those that the other end took in.
type gun struct {
	b       *testing.B
	program *ebpf.Program
	frame   []byte
	tx, rx  netlink.Link
}

// newGun makes a veth pair in the current namespace. The calling goroutine must be locked to its thread.
func newGun(b *testing.B) *gun {
	b.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "tx0"
	must(b, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "rx0"}))
	must(b, linkUp("tx0")())
	must(b, linkUp("rx0")())
	tx, err := netlink.LinkByName("tx0")
	must(b, err)
	rx, err := netlink.LinkByName("rx0")
	must(b, err)
	counter, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(b, err)
	b.Cleanup(func() { _ = counter.Close() })
	program, err := ebpf.NewProgram(generator(counter, tx.Attrs().Index))
	must(b, err)
	b.Cleanup(func() { _ = program.Close() })
	return &gun{b: b, program: program, frame: synFrame(rx.Attrs().HardwareAddr), tx: tx, rx: rx}
}

// generator returns a program that gives each frame the next of 65536 client addresses and a source port, and sends it.
// The IP identification is the complement of the address's lower half, so that the header checksum stays right:
// the IP layer would drop the frame before netfilter's PREROUTING.
func generator(counter *ebpf.Map, ifindex int) *ebpf.ProgramSpec {
	const ethernet = 14
	const ipID, ipSource, tcpSource, end = ethernet + 4, ethernet + 12, ethernet + 20, ethernet + 40
	return &ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R7, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R0, asm.R6),
		asm.Add.Imm(asm.R0, end),
		asm.JGT.Reg(asm.R0, asm.R7, "drop"),
		asm.LoadMapValue(asm.R8, counter.FD(), 0),
		asm.LoadMem(asm.R3, asm.R8, 0, asm.DWord),
		asm.Add.Imm(asm.R3, 1),
		asm.StoreMem(asm.R8, 0, asm.R3, asm.DWord),
		asm.StoreMem(asm.R6, ipSource+2, asm.R3, asm.Half),
		asm.Mov.Reg(asm.R4, asm.R3),
		asm.Xor.Imm(asm.R4, -1),
		asm.StoreMem(asm.R6, ipID, asm.R4, asm.Half),
		asm.Mul.Imm(asm.R3, 0x9e3779b1>>1|1), // an odd number: ports in no order
		asm.RSh.Imm(asm.R3, 8),
		asm.StoreMem(asm.R6, tcpSource, asm.R3, asm.Half),
		asm.Mov.Imm(asm.R1, int32(ifindex)),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRedirect.Call(),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("drop"),
		asm.Return(),
	}}
}

// synFrame is a SYN of 54 bytes to the virtual IP, with source and identification still to be filled in.
func synFrame(dst []byte) []byte {
	f := make([]byte, 64)
	copy(f, dst)
	copy(f[6:], []byte{0x02, 0x77, 0, 0, 9, 9, 0x08, 0x00})
	ip := f[14:34]
	copy(ip, []byte{0x45, 0, 0, 40, 0xff, 0xff, 0x40, 0, 64, 6, 0, 0, 10, 78, 0, 0})
	vip := VIP.As4()
	copy(ip[16:], vip[:])
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	tcp := f[34:]
	binary.BigEndian.PutUint16(tcp[2:], HTTPPort)
	tcp[12], tcp[13] = 5<<4, 0x02
	return f
}

// fire returns how many million frames per second the receiving end processed.
func (g *gun) fire() float64 {
	g.b.Helper()
	// struct xdp_md: data_end is the frame's length, ingress_ifindex a device of this namespace.
	xdp := make([]byte, 24)
	binary.NativeEndian.PutUint32(xdp[4:], uint32(len(g.frame)))
	binary.NativeEndian.PutUint32(xdp[12:], uint32(g.tx.Attrs().Index))
	best := 0.0
	for range rounds {
		before, start := g.taken(), time.Now()
		_, err := g.program.Run(&ebpf.RunOptions{Data: g.frame, Context: xdp, Repeat: shots, Flags: liveFrames, BatchSize: batch})
		must(g.b, err)
		rate := float64(g.taken()-before) / time.Since(start).Seconds() / 1e6
		best = max(best, rate)
	}
	return best
}

// taken counts the frames that the receiving end's driver processed, whatever became of them.
func (g *gun) taken() uint64 {
	g.b.Helper()
	rx, err := netlink.LinkByIndex(g.rx.Attrs().Index)
	must(g.b, err)
	return rx.Attrs().Statistics.RxPackets
}

// passXDP puts a program that lets everything through on the receiving end: a veth takes frames of XDP only
// from a driver that runs XDP itself.
func (g *gun) passXDP() {
	g.b.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 2), asm.Return(),
	}})
	must(g.b, err)
	attached, err := link.AttachXDP(link.XDPOptions{Program: pass, Interface: g.rx.Attrs().Index, Flags: link.XDPDriverMode})
	must(g.b, err)
	g.b.Cleanup(func() { _ = errors.Join(attached.Close(), pass.Close()) })
}

// wlbs filters with this project's filter at XDP; own are the buckets that it accepts.
func (g *gun) wlbs(own bucket.Map) {
	g.b.Helper()
	bpffs := filepath.Join(g.b.TempDir(), "bpf")
	must(g.b, os.MkdirAll(bpffs, 0o755))
	must(g.b, unix.Mount("bpffs", bpffs, "bpf", 0, ""))
	g.b.Cleanup(func() { _ = unix.Unmount(bpffs, unix.MNT_DETACH) })
	port, err := filter.OpenInterface(filter.InterfaceConfig{
		Ifindex: g.rx.Attrs().Index, Root: filepath.Join(bpffs, "wlbs"), Hook: filter.XDP,
		HostMAC: g.rx.Attrs().HardwareAddr,
	})
	must(g.b, err)
	f, err := port.Open(filter.Config{Cluster: "web", ClusterMAC: v1alpha1.ClusterMAC(v1alpha1.ModeMulticast, VIP)})
	must(g.b, err)
	g.b.Cleanup(func() { _ = errors.Join(f.Remove(), port.Remove()) })
	table := filter.Table{
		Epoch: 1, VIPs: []netip.Addr{VIP},
		Rules: []filter.Rule{{From: HTTPPort, To: HTTPPort, TCP: true, Slot: 0}},
	}
	table.Slots[0] = filter.Slot{Filter: filter.ModeMultiple, Affinity: filter.AffinityNone, Own: own}
	must(g.b, f.Apply(table))
	must(g.b, f.RenewLease(filter.Now()+time.Hour))
}

// nftables drops all hash values but the first accepted ones at netdev ingress, as a hand-made cluster does.
func (g *gun) nftables(accepted int) {
	g.b.Helper()
	g.passXDP()
	var verdicts []string
	for i := range bucket.Count {
		verdict := "drop"
		if i < accepted {
			verdict = "accept"
		}
		verdicts = append(verdicts, fmt.Sprintf("%d : %s", i, verdict))
	}
	g.nft("add table netdev f",
		"add chain netdev f in { type filter hook ingress device rx0 priority 0 ; }",
		fmt.Sprintf("add rule netdev f in ip daddr %s tcp dport %d jhash ip saddr . tcp sport mod %d seed 0xdeadbeef vmap { %s }",
			VIP, HTTPPort, bucket.Count, strings.Join(verdicts, ", ")))
}

func (g *gun) nft(commands ...string) {
	g.b.Helper()
	for _, c := range commands {
		_, err := command("nft", c)
		must(g.b, err)
	}
}

// xtCluster does the same with iptables' cluster match, of which this host is one node of three. What the match
// accepts meets the target.
func (g *gun) xtCluster(target string) {
	g.b.Helper()
	g.passXDP()
	for _, c := range []string{
		"-t mangle -A PREROUTING -i rx0 -d " + VIP.String() + " -m cluster --cluster-total-nodes 3 --cluster-local-node 1 --cluster-hash-seed 0xdeadbeef -j " + target,
		"-t mangle -A PREROUTING -i rx0 -d " + VIP.String() + " -j DROP",
	} {
		_, err := command("iptables", strings.Fields(c)...)
		must(g.b, err)
	}
}

// BenchmarkPackets filters SYNs from ever new clients on one core, which sends them as well, and compares with other
// ways to split traffic by hash. "foreign" frames are all rejected; of "third" one in three is accepted, and dropped
// later by the IP layer, which has no such address. Numbers compare within one run only.
func BenchmarkPackets(b *testing.B) {
	need(b, os.Geteuid() == 0, "root, to make network namespaces")
	needTool(b, "nft")
	needTool(b, "iptables")
	const third = bucket.Map(1<<20 - 1)
	for _, share := range []struct {
		name     string
		accepted bucket.Map
		target   string // of what xt_cluster's hash accepts
	}{
		{"foreign", 0, "DROP"},
		{"third", third, "ACCEPT"},
	} {
		rates := map[string]float64{}
		for _, way := range []struct {
			name  string
			setup func(*gun)
		}{
			{"nftables", func(g *gun) { g.nftables(share.accepted.Len()) }},
			{"xt_cluster", func(g *gun) { g.xtCluster(share.target) }},
			{"wlbs", func(g *gun) { g.wlbs(share.accepted) }},
		} {
			b.Run(share.name+"/"+way.name, func(b *testing.B) {
				inNamespace(b, func() {
					g := newGun(b)
					way.setup(g)
					for range b.N {
						rates[way.name] = max(rates[way.name], g.fire())
					}
				})
				b.ReportMetric(rates[way.name], "Mpackets/s")
				b.ReportMetric(0, "ns/op")
				if way.name == "wlbs" && len(rates) == 3 {
					b.ReportMetric(rates["wlbs"]/rates["nftables"], "x-nftables")
					b.ReportMetric(rates["wlbs"]/rates["xt_cluster"], "x-xt_cluster")
				}
			})
		}
	}
}

// inNamespace runs f in a network namespace of its own, on one core.
func inNamespace(b *testing.B, f func()) {
	b.Helper()
	n, err := newNamespace(fmt.Sprintf("p%x-%d", os.Getpid(), rigs.Add(1)))
	must(b, err)
	b.Cleanup(func() { _ = n.close() })
	runtime.LockOSThread() // and never unlocked: the thread stays in the namespace and ends with the goroutine
	target, err := namespaceHandle(n.Name)
	must(b, err)
	defer func() { _ = target.Close() }()
	must(b, unix.Setns(int(target.Fd()), unix.CLONE_NEWNET))
	var one unix.CPUSet
	one.Set(0)
	must(b, unix.SchedSetaffinity(0, &one))
	f()
}
