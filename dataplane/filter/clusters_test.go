// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// tableFor has the rules of tableOf for other virtual IPs.
func tableFor(slot Slot, vips ...netip.Addr) Table {
	t := tableOf(slot)
	t.VIPs = vips
	return t
}

func macOf(n byte) net.HardwareAddr { return net.HardwareAddr{0x03, 0xbf, 10, 0, 1, n} }

// refused is the counter of a cluster that owns nothing: how many of its packets there were.
func (r *rig) refused() uint64 {
	r.t.Helper()
	return r.counters().Rejected
}

// hits tells how many packets a cluster gets by a frame for an address.
func (r *rig) hits(vip netip.Addr) uint64 {
	r.t.Helper()
	before := r.refused()
	r.run(r.objects.WlbsXdp, packetSpec{src: client4, dst: vip, sport: 40000, dport: 80, flags: flagSYN}.bytes())
	return r.refused() - before
}

// As many clusters and virtual IPs as there may be on one interface: each frame is its own
// cluster's. What is beyond is refused by name, and changes nothing.
func TestClusterAndVIPLimits(t *testing.T) {
	i := newRigs(t, XDP, mountBPF(t))
	const each = MaxInterfaceVIPs / MaxClusters
	all := manyVIPs(MaxInterfaceVIPs + 1)
	var clusters []*rig
	for n := range MaxClusters {
		r := i.rig(fmt.Sprintf("c%d", n))
		r.apply(tableFor(Slot{}, all[n*each:(n+1)*each]...))
		clusters = append(clusters, r)
	}
	_, err := i.Open(Config{Cluster: "late", ClusterMAC: testClusterMAC})
	want := "filter: cluster late: 65 clusters on one interface, at most 64"
	if err == nil || err.Error() != want {
		t.Errorf("one cluster too many: %v, want %s", err, want)
	}
	if names, err := pinnedClusters(i.config.Root); err != nil || slices.Contains(names, "late") {
		t.Errorf("the refused cluster left pins: %v, %v", names, err)
	}
	pinnedElsewhere(t, i)
	err = clusters[0].Apply(tableFor(Slot{}, append(all[:each:each], all[MaxInterfaceVIPs])...))
	want = "filter: cluster c0: epoch 0: 1025 virtual IPs on one interface, at most 1024"
	if err == nil || err.Error() != want {
		t.Errorf("one virtual IP too many: %v, want %s", err, want)
	}
	for n, vip := range all[:MaxInterfaceVIPs] {
		if hits := clusters[n/each].hits(vip); hits != 1 {
			t.Errorf("%s: cluster %d has %d hits", vip, n/each, hits)
		}
	}
	if action := i.rigAction(all[MaxInterfaceVIPs]); action != xdpPass {
		t.Errorf("a frame for no virtual IP: action %d", action)
	}
	// A number that is free again serves the next one.
	if err := clusters[7].Remove(); err != nil {
		t.Fatal(err)
	}
	late := i.rig("late")
	late.apply(tableFor(Slot{}, all[MaxInterfaceVIPs]))
	if late.hits(all[MaxInterfaceVIPs]) != 1 || late.hits(all[7*each]) != 0 {
		t.Error("the cluster that came late does not get its own packets, and only these")
	}
}

// pinnedElsewhere requires that a cluster that finds no room keeps what it has on another
// interface.
func pinnedElsewhere(t *testing.T, full *rigs) {
	t.Helper()
	n := newNode(t)
	n.config.Root, n.config.unattached, n.config.Hook = full.config.Root, true, XDP
	other := &rigs{Interface: n.openInterface(), t: t}
	r := other.rig("elsewhere")
	r.apply(tableFor(Slot{}, vip4))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := full.Open(Config{Cluster: "elsewhere", ClusterMAC: testClusterMAC}); err == nil {
		t.Error("one cluster too many was opened")
	}
	if action := other.rigAction(vip4); action != xdpDrop {
		t.Errorf("action %d: the cluster that was refused lost what it had", action)
	}
	if err := other.RemoveCluster("elsewhere"); err != nil {
		t.Fatal(err)
	}
}

func (i *rigs) rigAction(dst netip.Addr) uint32 {
	i.t.Helper()
	action, err := i.objects.WlbsXdp.Run(runOptions(packetSpec{src: client4, dst: dst, sport: 40000, dport: 80}.bytes()))
	if err != nil {
		i.t.Fatal(err)
	}
	return action
}

// The first cluster keeps a virtual IP until it lets go of it.
func TestVIPOfAnotherCluster(t *testing.T) {
	i := newRigs(t, XDP, mountBPF(t))
	web, mail := i.rig("web"), i.rig("mail")
	web.apply(tableFor(Slot{}, vip4))
	other := netip.MustParseAddr("10.0.0.101")
	mail.apply(tableFor(Slot{}, other))
	err := mail.Apply(tableFor(Slot{}, other, vip4))
	if err == nil || !strings.Contains(err.Error(), "virtual IP 10.0.0.100: clusters mail and web both claim it") {
		t.Fatalf("claimed another cluster's virtual IP: %v", err)
	}
	if web.hits(vip4) != 1 || mail.hits(vip4) != 0 || mail.hits(other) != 1 {
		t.Error("the refused table changed something")
	}
	web.apply(tableFor(Slot{}))
	if action := i.rigAction(vip4); action != xdpPass {
		t.Errorf("nobody's virtual IP any more: action %d", action)
	}
	mail.apply(tableFor(Slot{}, vip4, other))
	if web.hits(vip4) != 0 || mail.hits(vip4) != 1 || mail.hits(other) != 1 {
		t.Error("the virtual IP did not go to the other cluster")
	}
}

// Any order of commits and removals, and of agents that come and go: each address leads to the
// cluster that a plain model says.
func TestComposedTableMatchesModel(t *testing.T) {
	addresses := append(manyVIPs(12), vip6, netip.MustParseAddr("fd00::101"))
	names := []string{"web", "mail", "dns.example", "a", "b"}
	rapid.Check(t, func(rt *rapid.T) {
		root := mountBPF(t)
		i := newRigs(t, XDP, root)
		open := map[string]*rig{}
		owner := map[netip.Addr]string{}
		closeAll := func() {
			for name, r := range open {
				if err := r.Close(); err != nil {
					rt.Fatal(err)
				}
				delete(open, name)
			}
			if err := i.Close(); err != nil {
				rt.Fatal(err)
			}
		}
		defer closeAll()
		for range rapid.IntRange(1, 10).Draw(rt, "steps") {
			name := rapid.SampledFrom(names).Draw(rt, "cluster")
			switch step := rapid.IntRange(0, 9).Draw(rt, "step"); {
			case step == 0:
				closeAll()
				i = newRigs(t, XDP, root)
			case step <= 2:
				if r := open[name]; r != nil {
					if err := r.Remove(); err != nil {
						rt.Fatal(err)
					}
					delete(open, name)
				} else if err := i.RemoveCluster(name); err != nil {
					rt.Fatal(err)
				}
				for a, o := range owner {
					if o == name {
						delete(owner, a)
					}
				}
			default:
				if open[name] == nil {
					open[name] = i.rig(name)
				}
				vips := rapid.SliceOfNDistinct(rapid.SampledFrom(addresses), 0, 6, rapid.ID).Draw(rt, "vips")
				free := !slices.ContainsFunc(vips, func(a netip.Addr) bool { return owner[a] != "" && owner[a] != name })
				if err := open[name].Apply(tableFor(Slot{}, vips...)); (err == nil) != free {
					rt.Fatalf("%s takes %v, which are free is %t: %v", name, vips, free, err)
				}
				if !free {
					break
				}
				for a, o := range owner {
					if o == name {
						delete(owner, a)
					}
				}
				for _, a := range vips {
					owner[a] = name
				}
			}
			i.requireOwners(rt, addresses, owner, open)
		}
	})
}

// requireOwners sends a frame to each address. What belongs to a cluster that is not open is
// dropped; which cluster did it shows when it is.
func (i *rigs) requireOwners(rt *rapid.T, addresses []netip.Addr, owner map[netip.Addr]string, open map[string]*rig) {
	before := map[string]uint64{}
	for name, r := range open {
		before[name] = r.refused()
	}
	want := map[string]uint64{}
	for _, a := range addresses {
		src := client4
		if a.Is6() {
			src = client6
		}
		action, err := i.objects.WlbsXdp.Run(runOptions(packetSpec{src: src, dst: a, sport: 40000, dport: 80}.bytes()))
		if err != nil {
			rt.Fatal(err)
		}
		if (action == xdpDrop) != (owner[a] != "") {
			rt.Fatalf("%s of cluster %q: action %d", a, owner[a], action)
		}
		want[owner[a]]++
	}
	for name, r := range open {
		if got := r.refused() - before[name]; got != want[name] {
			rt.Fatalf("cluster %s got %d packets, want %d", name, got, want[name])
		}
	}
}

// Virtual IPs come and go beside one that stays, under ever new seeds: each packet for it is
// judged by one epoch of its cluster, and none passes as a stranger's.
func TestVIPStaysWhileOthersComeAndGo(t *testing.T) {
	i := newRigs(t, XDP, mountBPF(t))
	web, mail := i.rig("web"), i.rig("mail")
	many := manyVIPs(400)
	with := func(n int) Table {
		table := swapped(n % 2)
		table.VIPs = append(slices.Clone(many[n%50:n%50+n%100]), vip4)
		if n%3 == 0 {
			slices.Reverse(table.VIPs)
		}
		return table
	}
	web.apply(with(0))
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			rest := many[200+n%60 : 200+n%60+n%140]
			if err := errors.Join(web.Apply(with(n)), mail.Apply(tableFor(Slot{Own: bucket.All}, rest...))); err != nil {
				t.Error(err)
			}
		}
	}()
	frame := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol}.bytes()
	sent, again := uint64(0), uint64(0)
	for start := time.Now(); time.Since(start) < 2*time.Second; sent += 100_000 {
		// A run that a signal ends begins anew: some of its packets are counted, too.
		interrupted := func() { again += 100_000 }
		if _, _, err := web.objects.WlbsXdp.Benchmark(frame, 100_000, interrupted); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	commits := <-done
	if c := web.counters(); c.Admitted != 0 || c.Rejected < sent || c.Rejected > sent+again {
		t.Errorf("%d packets, up to %d of them again: %d admitted, %d rejected, in %d commits",
			sent, again, c.Admitted, c.Rejected, commits)
	}
	if c := mail.counters(); c.Admitted+c.Rejected != 0 {
		t.Errorf("%d packets were taken for another cluster's", c.Admitted+c.Rejected)
	}
}

// Two clusters may have one MAC: it is blocked as a source until the last one is gone.
func TestClustersWithOneMAC(t *testing.T) {
	i := newRigs(t, XDP, mountBPF(t))
	web, mail := i.rig("web"), i.rig("mail")
	web.apply(tableFor(Slot{Own: bucket.All}, vip4))
	other := netip.MustParseAddr("10.0.0.101")
	mail.apply(tableFor(Slot{Own: bucket.All}, other))
	frame := packetSpec{src: client4, dst: client4, etherSource: testClusterMAC}.bytes()
	blocked := func(want bool) {
		t.Helper()
		if action := web.run(i.objects.WlbsEgress, frame); (action == tcDrop) != want {
			t.Errorf("action %d for a cluster MAC as source, want a drop: %t", action, want)
		}
	}
	blocked(true)
	if err := mail.Remove(); err != nil {
		t.Fatal(err)
	}
	blocked(true)
	if action := web.run(i.objects.WlbsIngress, request(client4, vip4)); action != tcRedirect {
		t.Errorf("action %d for a request of the cluster that stays", action)
	}
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	blocked(false)
}

// A cluster's answers carry its own MAC and need its own lease.
func TestEachClusterAnswersForItself(t *testing.T) {
	i := newRigs(t, TCX, mountBPF(t))
	web := i.rig("web", func(c *Config) { c.ClusterMAC = macOf(1) })
	mail := i.rig("mail", func(c *Config) { c.ClusterMAC = macOf(2) })
	other := netip.MustParseAddr("10.0.0.101")
	web.apply(tableFor(Slot{Own: bucket.All}, vip4))
	mail.apply(tableFor(Slot{Own: bucket.All}, other))
	for vip, mac := range map[netip.Addr]net.HardwareAddr{vip4: macOf(1), other: macOf(2)} {
		_, got := web.runOut(i.objects.WlbsIngress, request(client4, vip))
		compare(t, arp{arpReply, mac, testClientMAC, vip, client4}.bytes(testClientMAC, testHostMAC), got)
		own := arp{arpRequest, testHostMAC, zeroMAC, vip, client4}
		fixed := own
		fixed.senderMAC = mac
		compare(t, fixed.bytes(broadcast, testHostMAC), web.out(own.bytes(broadcast, testHostMAC)))
	}
	if err := mail.Revoke(); err != nil {
		t.Fatal(err)
	}
	if action := web.run(i.objects.WlbsIngress, request(client4, other)); action != tcDrop {
		t.Errorf("action %d without a lease", action)
	}
	if action := web.run(i.objects.WlbsIngress, request(client4, vip4)); action != tcRedirect {
		t.Errorf("action %d with a lease, though another cluster has none", action)
	}
	// A neighbour that uses another cluster's MAC for a virtual IP is in conflict.
	web.run(i.objects.WlbsIngress, arp{arpReply, macOf(2), testHostMAC, vip4, client4}.bytes(testHostMAC, macOf(2)))
	if c := web.counters(); c.ResolutionConflict != 1 {
		t.Errorf("%d conflicts", c.ResolutionConflict)
	}
}

// Connections, clients, exceptions and rule keys are each cluster's own.
func TestClustersTrackApart(t *testing.T) {
	forHooks(t, func(t *testing.T, hook Hook) {
		i := newRigs(t, hook, mountBPF(t))
		web, mail := i.rig("web"), i.rig("mail")
		web.apply(tableFor(stickySlot(AffinitySingle, bucket.All), vip4))
		mail.apply(tableFor(stickySlot(AffinitySingle, bucket.All), netip.MustParseAddr("10.0.0.101"), vip6))
		web.conversation(someClient).open()
		web.wantTable(1, 0)
		web.wantHeld(1, 0)
		mail.wantTable(0, 0)
		mail.wantHeld(0, 0)
		mail.except(stickyClient(client4, AffinitySingle))
		if !web.conversation(netip.AddrPortFrom(client4, 40001)).says(flagSYN) {
			t.Error("an exception of another cluster keeps a client out")
		}
		if got := mail.counters(); got.Admitted != 0 || got.SYNDelivered != 0 {
			t.Errorf("counted with another cluster: %+v", got)
		}
	})
}

// What happens to one cluster under traffic changes nothing of another's packets, counters and
// connections.
func TestClustersLeaveEachOtherAlone(t *testing.T) {
	for _, hook := range []Hook{XDP, TCX, Clsact} {
		t.Run(hook.String(), func(t *testing.T) { disturb(t, hook) })
	}
}

func disturb(t *testing.T, hook Hook) {
	requireHook(t, hook)
	n := newNode(t)
	web := n.serve(func(c *InterfaceConfig) { c.Hook = hook })
	if web.Hook() != hook {
		t.Fatalf("hook %s", web.Hook())
	}
	n.listen()
	n.connect(40000)
	n.await("the connection is tracked", func() bool { return n.tracked(web) == 1 })
	own := packetSpec{src: client4, dst: vip4, sport: 40000, dport: 80, protocol: udpProtocol, payload: 10}
	client := netip.AddrPortFrom(own.src, own.sport)
	foreign := own
	for foreign.sport++; mine(netip.AddrPortFrom(foreign.src, foreign.sport), AffinityNone) == mine(client, AffinityNone); {
		foreign.sport++
	}
	if err := web.Apply(tableOf(Slot{Own: mine(client, AffinityNone)})); err != nil {
		t.Fatal(err)
	}
	before, err := web.Counters()
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	result := n.flood(stop, own.bytes(), foreign.bytes())
	other := n.cluster
	other.Cluster = "mail"
	many := manyVIPs(100)
	for round := range 5 {
		mail := n.openCluster(web.port, other)
		for k := range 10 {
			if err := errors.Join(
				mail.Apply(tableFor(Slot{Own: bucket.All}, many[:1+10*k+round]...)),
				mail.RenewLease(Now()+time.Hour), mail.SetBusy(allBuckets()), mail.Revoke(),
			); err != nil {
				t.Fatal(err)
			}
		}
		if err := mail.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	sent := <-result
	var c Counters
	n.await("all frames are counted", func() bool {
		var err error
		if c, err = web.Counters(); err != nil {
			t.Fatal(err)
		}
		return c.Delivered-before.Delivered >= sent[0] && c.Rejected-before.Rejected >= sent[1]
	})
	if c.Delivered-before.Delivered != sent[0] || c.Rejected-before.Rejected != sent[1] || c.LeaseExpired != 0 || sent[0] < 500 {
		t.Errorf("sent %d of an own and %d of a foreign bucket; before %+v; after %+v", sent[0], sent[1], before, c)
	}
	if got := n.tracked(web); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// The next agent opens one cluster of three: the others go on, whatever it does, until they are
// removed.
func TestReopenSomeClusters(t *testing.T) {
	n := newNode(t)
	mailVIP, dnsVIP := netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.102")
	web := n.serve()
	mailConfig, dnsConfig := n.cluster, n.cluster
	mailConfig.Cluster, mailConfig.ClusterMAC = "mail.example", macOf(2)
	dnsConfig.Cluster, dnsConfig.ClusterMAC = "dns", macOf(3)
	mail, dns := n.openCluster(web.port, mailConfig), n.openCluster(web.port, dnsConfig)
	if err := errors.Join(
		mail.Apply(tableFor(Slot{Own: bucket.All}, mailVIP)), mail.RenewLease(Now()+time.Hour),
		dns.Apply(tableFor(Slot{Own: bucket.All}, dnsVIP)), dns.RenewLease(Now()+time.Hour),
	); err != nil {
		t.Fatal(err)
	}
	if _, err := web.port.Open(mailConfig); err == nil {
		t.Error("opened a cluster twice")
	}
	n.listen()
	n.connect(40000)
	n.await("the connection is tracked", func() bool { return n.tracked(web) == 1 })
	if err := errors.Join(mail.Close(), dns.Close(), web.Close()); err != nil {
		t.Fatal(err)
	}

	port := n.openInterface()
	clusters := func(want ...string) {
		t.Helper()
		got, err := port.Clusters()
		if err != nil {
			t.Fatal(err)
		}
		compare(t, want, got)
	}
	clusters("dns", "mail.example", "web")
	mail = n.openCluster(port, mailConfig)
	if err := mail.Apply(tableFor(Slot{Own: bucket.All}, append(manyVIPs(100), mailVIP)...)); err != nil {
		t.Fatal(err)
	}
	n.connect(40001) // to a cluster that nobody has opened
	asked := func(vip netip.Addr) net.HardwareAddr {
		n.send(request(client4, vip))
		f := n.receive(500*time.Millisecond, func(f []byte) bool {
			return binary.BigEndian.Uint16(f[12:]) == etherTypeARP && binary.BigEndian.Uint16(f[20:]) == arpReply &&
				netip.AddrFrom4([4]byte(f[28:32])) == vip
		})
		if f == nil {
			return nil
		}
		return net.HardwareAddr(slices.Clone(f[22:28]))
	}
	compare(t, macOf(2), asked(mailVIP))
	compare(t, macOf(3), asked(dnsVIP))
	if err := port.Remove(); err == nil || !strings.Contains(err.Error(), "still serves clusters: dns, mail.example, web") {
		t.Errorf("removed under three clusters: %v", err)
	}
	if err := port.RemoveCluster("mail.example"); err == nil {
		t.Error("removed a cluster that is open")
	}
	if err := errors.Join(port.RemoveCluster("dns"), port.RemoveCluster("never")); err != nil {
		t.Fatal(err)
	}
	clusters("mail.example", "web")
	if asked(dnsVIP) != nil {
		t.Error("a cluster that was removed answers")
	}
	compare(t, macOf(2), asked(mailVIP))
	n.connect(40002)
	// By the pins alone, as the cleanup command does.
	if err := CleanupCluster(n.config.Root, "web"); err != nil {
		t.Fatal(err)
	}
	clusters("mail.example")
	if err := mail.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := port.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft()
}

// A number is free for another cluster as soon as the one that had it is cleaned up by its pins.
func TestCleanupClusterFreesAllItHas(t *testing.T) {
	n := newNode(t)
	web := n.serve()
	mailConfig := n.cluster
	mailConfig.Cluster, mailConfig.ClusterMAC = "mail", macOf(2)
	mail := n.openCluster(web.port, mailConfig)
	if err := errors.Join(mail.Close(), web.Close(), CleanupCluster(n.config.Root, "web")); err != nil {
		t.Fatal(err)
	}
	names, err := pinnedClusters(n.config.Root)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, []string{"mail"}, names)
	port := n.openInterface()
	var mac uint64
	var macs []uint64
	var one uint32
	for entries := port.maps[wlbsMapClusterMacs].Iterate(); entries.Next(&mac, &one); {
		macs = append(macs, mac)
	}
	compare(t, []uint64{macWord(macOf(2))}, macs)
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the last one takes the interface along
		if err := CleanupCluster(n.config.Root, "mail"); err != nil {
			t.Fatal(err)
		}
	}
	n.requireNothingLeft()
}

// The interface went and came back under another index: its pins are gone, its clusters go on
// with all that they know.
func TestClustersMoveToRecreatedInterface(t *testing.T) {
	n := newNode(t)
	web := n.serve()
	n.listen()
	n.connect(40000)
	n.await("the connection is tracked", func() bool { return n.tracked(web) == 1 })
	old := n.pins()
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	n.recreate()
	if n.pins() == old {
		t.Fatal("the interface came back under the same index")
	}
	web = n.open()
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pins of the interface that is gone: %v", err)
	}
	if got := n.tracked(web); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	n.connect(40001) // under the table and the lease of the former process
	n.await("it is tracked", func() bool { return n.tracked(web) == 2 })
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft()
}

// One that goes to another interface leaves the first one, which keeps the others.
func TestClusterMovesBetweenInterfaces(t *testing.T) {
	root := mountBPF(t)
	first := newRigs(t, XDP, root)
	web, mail := first.rig("web"), first.rig("mail")
	web.apply(tableFor(Slot{}, vip4))
	mail.apply(tableFor(Slot{}, vip6))
	if err := web.Close(); err != nil {
		t.Fatal(err)
	}
	n := newNode(t)
	config := n.config
	config.Root, config.unattached, config.Hook = root, true, XDP
	n.config = config
	second := &rigs{Interface: n.openInterface(), t: t}
	web = second.rig("web")
	if first.rigAction(vip4) != xdpPass || second.rigAction(vip4) != xdpDrop {
		t.Errorf("actions %d and %d", first.rigAction(vip4), second.rigAction(vip4))
	}
	names, err := first.Clusters()
	if err != nil {
		t.Fatal(err)
	}
	compare(t, []string{"mail"}, names)
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	if second.rigAction(vip4) != xdpPass {
		t.Error("a frame for a cluster that was removed does not pass")
	}
}

// Programs that use maps of another layout go on until none of the clusters needs them.
func TestOtherLayoutWaitsForAllClusters(t *testing.T) {
	n := newNode(t)
	web := n.serve()
	mailConfig := n.cluster
	mailConfig.Cluster = "mail"
	mail := n.openCluster(web.port, mailConfig)
	if err := mail.Apply(tableFor(Slot{}, netip.MustParseAddr("10.0.0.101"))); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*wlbsStateHeader{&web.state.value.Header, &mail.state.value.Header} {
		h.Layout = layout + 1
	}
	web.port.globals.value.Layout = layout + 1
	if err := errors.Join(mail.Close(), web.Close()); err != nil {
		t.Fatal(err)
	}
	n.listen()
	web = n.serve()
	if !web.port.pending {
		t.Fatal("the programs were replaced while a cluster depends on them")
	}
	n.connect(40000)
	if got := n.tracked(web); got != 0 {
		t.Errorf("%d connections in maps that no program uses yet", got)
	}
	if err := web.port.RemoveCluster("mail"); err != nil {
		t.Fatal(err)
	}
	n.connect(40001)
	n.await("the new maps track", func() bool { return n.tracked(web) == 1 })
	if err := web.Remove(); err != nil {
		t.Fatal(err)
	}
	n.requireNothingLeft()
}

// Clusters are opened, committed and removed at once.
func TestConcurrentClusters(t *testing.T) {
	i := newRigs(t, XDP, mountBPF(t))
	const clusters, rounds = 8, 10
	vips := manyVIPs(clusters * rounds)
	done := make(chan error, clusters)
	var failed atomic.Int64
	for n := range clusters {
		go func() {
			done <- func() error {
				for k := range rounds {
					f, err := i.Open(Config{Cluster: fmt.Sprintf("c%d", n), ClusterMAC: macOf(byte(n % 3)), MaxConnections: 64})
					if err != nil {
						return err
					}
					vip := vips[n*rounds+k]
					err = errors.Join(f.Apply(tableFor(Slot{}, vip)), f.RenewLease(Now()+time.Hour))
					if action, runErr := i.objects.WlbsXdp.Run(runOptions(packetSpec{src: client4, dst: vip}.bytes())); runErr != nil || action != xdpDrop {
						failed.Add(1)
					}
					if err := errors.Join(err, f.Remove()); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	for range clusters {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if failed.Load() > 0 {
		t.Errorf("%d frames for a virtual IP passed", failed.Load())
	}
	names, err := i.Clusters()
	if err != nil || len(names) > 0 {
		t.Errorf("left: %v, %v", names, err)
	}
}
