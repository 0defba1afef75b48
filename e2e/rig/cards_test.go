// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// cardsVariable tells which cards the machine has: MODEL=MAC,MAC... of the client and the hosts, two for each, and a
// blank before the next model.
const cardsVariable = "KUBE_WLBS_CARDS"

// topology is how eth0 is made of a host's cards. A macvlan is none: the kernel gives frames for a multicast MAC to the
// card's own stack as well, where no filter stands, and a second answer goes out.
type topology struct {
	name string
	// cards is how many it needs.
	cards    int
	assemble func(*Namespace, int) error
	// fault is what clients of the cluster outlive.
	fault func(*Namespace) error
}

func topologies() []topology {
	commands := func(lines ...string) func(*Namespace, int) error {
		return func(n *Namespace, _ int) error { return n.Commands(lines...) }
	}
	return []topology{
		{name: "plain", cards: 1},
		{name: "vlan", cards: 1, assemble: commands("ip link add link nic0 name eth0 type vlan id 10")},
		{
			name: "bond", cards: 2,
			assemble: commands("ip link add eth0 type bond mode active-backup miimon 100",
				"ip link set nic0 down", "ip link set nic0 master eth0", "ip link set nic1 down", "ip link set nic1 master eth0"),
			fault: func(n *Namespace) error { return n.Commands("ip link set nic0 down") },
		},
		{name: "bridge", cards: 1, assemble: commands("ip link add eth0 type bridge", "ip link set nic0 master eth0")},
	}
}

// TestCards runs whole agents on network cards with receive filters of their own, which drop what the agent did not ask
// for. It needs a machine that has such cards and nothing else to do with them.
func TestCards(t *testing.T) {
	models := os.Getenv(cardsVariable)
	if models == "" {
		t.Skip("needs a machine with emulated cards: make test-drivers")
	}
	for model := range strings.FieldsSeq(models) {
		name, list, _ := strings.Cut(model, "=")
		macs, err := parseMACs(list)
		must(t, err)
		t.Run(name, func(t *testing.T) {
			for _, top := range topologies() {
				t.Run(top.name, func(t *testing.T) { onTopology(t, macs, top) })
			}
		})
	}
}

// parseMACs returns the cards of the client and of each host, two for each.
func parseMACs(list string) ([][]net.HardwareAddr, error) {
	const each = 2
	var all []net.HardwareAddr
	for s := range strings.SplitSeq(list, ",") {
		mac, err := net.ParseMAC(s)
		if err != nil {
			return nil, err
		}
		all = append(all, mac)
	}
	if len(all)%each != 0 || len(all) < 2*each {
		return nil, fmt.Errorf("%d cards, want two for the client and for each host", len(all))
	}
	return slices.Collect(slices.Chunk(all, each)), nil
}

func onTopology(t *testing.T, macs [][]net.HardwareAddr, top topology) {
	cards := Cards{Assemble: top.assemble}
	for _, m := range macs {
		cards.MACs = append(cards.MACs, m[:top.cards])
	}
	sizes := []int{1500}
	if top.name == "plain" {
		sizes = []int{1500, 9000}
		t.Run("1400", func(t *testing.T) { mtuTooSmall(t, cards) })
	}
	for _, mtu := range sizes {
		t.Run(fmt.Sprint(mtu), func(t *testing.T) {
			for _, mode := range []v1alpha1.Mode{v1alpha1.ModeMulticast, v1alpha1.ModeUnicast, v1alpha1.ModeIGMPMulticast} {
				t.Run(string(mode), func(t *testing.T) {
					cards := cards
					cards.MTU = mtu
					serveOnCards(t, cards, mode, top.fault)
				})
			}
		})
	}
}

// cardRig builds a rig on cards, without running agents.
func cardRig(t *testing.T, cards Cards, mode v1alpha1.Mode) *Rig {
	t.Helper()
	agent, err := buildAgent()
	must(t, err)
	r, err := New(Options{
		Hosts: len(cards.MACs) - 1, Agent: agent, Dir: t.TempDir(), Cards: &cards, Prefix: fmt.Sprintf("c%d", rigs.Add(1)),
		Change: func(c *v1alpha1.LoadBalancingCluster) {
			dualStack(c)
			c.Spec.Mode = mode
			c.Spec.PortRules[0].Protocol = v1alpha1.ProtocolBoth
			c.Spec.PortRules[0].Affinity = v1alpha1.AffinityNone
		},
	})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			r.logs(t)
		}
		must(t, r.Close())
	})
	for _, h := range r.Hosts {
		must(t, poll(soon(t, slow), h.hasCarrier))
	}
	return r
}

// hasCarrier returns an error until eth0 has a link-local address, which the kernel gives it when there is carrier: seconds
// after a card was set up.
func (h *Host) hasCarrier() error {
	out, err := h.NS.Run("ip", "-6", "-o", "addr", "show", "dev", hostInterface, "scope", "link")
	if err == nil && !strings.Contains(out, "fe80:") {
		err = fmt.Errorf("%s has no carrier", h.Name)
	}
	return err
}

// serveOnCards starts all agents on a topology, sees each virtual IP served, by both protocols, by exactly one host each
// time, and that the end gives back all that they took.
func serveOnCards(t *testing.T, cards Cards, mode v1alpha1.Mode, fault func(*Namespace) error) {
	r := cardRig(t, cards, mode)
	before := r.traces(t)
	must(t, r.StartAll())
	r.servedOnCards(t)
	is, err := r.Hosts[0].Query(soon(t, waitLimit))
	must(t, err)
	t.Logf("hook %s", is.Status.Dataplane.Hook)
	if fault != nil {
		for _, h := range r.Hosts {
			must(t, fault(h.NS))
		}
		r.servedOnCards(t)
	}
	for _, h := range r.Hosts {
		must(t, h.Stop())
	}
	must(t, poll(soon(t, waitLimit), func() error {
		if after := r.traces(t); after != before {
			return fmt.Errorf("before:\n%s\nafter the end:\n%s", before, after)
		}
		return nil
	}))
}

// mtuTooSmall sees that agents take nothing where a heartbeat does not fit, say so, and serve once it does.
func mtuTooSmall(t *testing.T, cards Cards) {
	cards.MTU = 1400
	r := cardRig(t, cards, v1alpha1.ModeMulticast)
	before := r.traces(t)
	must(t, r.StartAll())
	for _, h := range r.Hosts {
		must(t, poll(soon(t, slow), func() error {
			is, err := h.Query(t.Context())
			if err != nil {
				return err
			}
			for _, c := range is.Status.Conditions {
				if c.Reason == v1alpha1.ReasonMTUTooSmall {
					return nil
				}
			}
			return fmt.Errorf("%s says %+v, want reason %s", h.Name, is.Status.Conditions, v1alpha1.ReasonMTUTooSmall)
		}))
	}
	if after := r.traces(t); after != before {
		t.Errorf("before:\n%s\nwith agents that may take nothing:\n%s", before, after)
	}
	cards.MTU = 1500
	for _, h := range r.Hosts {
		must(t, h.NS.Do(func() error { return cards.setMTU(hostInterface) }))
	}
	must(t, r.Client.Do(func() error { return cards.setMTU(hostInterface) }))
	r.servedOnCards(t)
}

// slow is how long something may take on an emulated machine, which stands still for seconds where its host is busy.
const slow = time.Minute

// servedOnCards waits until all hosts are members of one view and every client is answered. Silence may be the machine's
// that stands still, so it is asked again; two answers to one question never are.
func (r *Rig) servedOnCards(t *testing.T) {
	t.Helper()
	ctx := soon(t, 2*slow)
	for attempt := 1; ; attempt++ {
		err := r.serveAll(ctx, t)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("not served by all at attempt %d: %v", attempt, err)
		}
		t.Logf("attempt %d: %v", attempt, err)
	}
}

func (r *Rig) serveAll(ctx context.Context, t *testing.T) error {
	t.Helper()
	if err := r.WaitConverged(ctx, r.Hosts...); err != nil {
		return err
	}
	byHost := map[string]int{}
	for _, vip := range r.vips() {
		for _, udp := range []bool{false, true} {
			if err := r.ask(t, vip, udp, byHost); err != nil {
				return err
			}
		}
	}
	if len(byHost) != len(r.Hosts) {
		return fmt.Errorf("answers by host: %v, want %d hosts", byHost, len(r.Hosts))
	}
	return nil
}

// ask lets clients ask a virtual IP, counts the answers by host, and fails the test if a question had two of them.
func (r *Rig) ask(t *testing.T, vip netip.Addr, udp bool, byHost map[string]int) error {
	t.Helper()
	const clients, size = 40, 700
	c, err := r.StartCapture()
	must(t, err)
	report, err := r.Do(Load{
		Target: netip.AddrPortFrom(vip, HTTPPort), Clients: clients, Connections: 1, UDP: udp, Size: size,
		Interval: time.Second, Timeout: 5 * time.Second,
	})
	must(t, err)
	letPass(t, 200*time.Millisecond)
	frames, err := c.Stop()
	must(t, err)
	if udp {
		onceAnswered(t, frames, vip)
	} else {
		r.onceAccepted(t, frames)
	}
	for host, n := range report.ByHost() {
		byHost[host] += n
	}
	var errs []error
	for _, a := range report.Failed() {
		errs = append(errs, fmt.Errorf("%s to %s, UDP %t: %s", a.Client, vip, udp, a.Error))
	}
	return errors.Join(errs[:min(3, len(errs))]...)
}

// onceAnswered fails the test if a client got more datagrams from the virtual IP than it sent.
func onceAnswered(t *testing.T, frames []Frame, vip netip.Addr) {
	t.Helper()
	sent, got := map[netip.AddrPort]int{}, map[netip.AddrPort]int{}
	for _, f := range frames {
		p, ok := decode(f)
		if !ok || p.protocol != unix.IPPROTO_UDP || len(p.payload) < 4 {
			continue
		}
		switch vip {
		case p.dst:
			sent[netip.AddrPortFrom(p.src, port(p.payload[0:]))]++
		case p.src:
			got[netip.AddrPortFrom(p.dst, port(p.payload[2:]))]++
		}
	}
	if len(sent) == 0 || len(got) == 0 {
		t.Errorf("the capture shows datagrams of %d clients, answers to %d", len(sent), len(got))
	}
	for client, n := range got {
		if n > sent[client] {
			t.Errorf("%s sent %d datagrams and got %d", client, sent[client], n)
		}
	}
}

func port(b []byte) uint16 { return uint16(b[0])<<8 | uint16(b[1]) }

// traces is what an agent changes on hosts, as their tools tell it: addresses, receive filters, disciplines, programs.
func (r *Rig) traces(t *testing.T) string {
	t.Helper()
	// Handles count up, lifetimes and learned addresses come and go, and so do groups that the kernel joins for an address.
	noise := regexp.MustCompile(`(?m)^.*(\bextern_learn\b|\bstale\b|\bage\b).*$|handle \S+|qdisc mq \S+:|parent \S+:\S*|qdisc (\S+) \S+:|users \d+|\bmaster \S+`)
	var out strings.Builder
	for _, h := range r.Hosts {
		for _, command := range []string{
			"ip -o addr show scope global", "ip maddr show dev eth0", "bridge fdb show dev eth0", "tc qdisc show dev eth0",
			"tc filter show dev eth0 ingress", "tc filter show dev eth0 egress", "ip neigh show proxy",
		} {
			words := strings.Fields(command)
			text, err := h.NS.Run(words[0], words[1:]...)
			if err != nil && !strings.Contains(err.Error(), "Cannot find") && !strings.Contains(err.Error(), "Invalid") {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, "%s: %s:\n%s\n", h.Name, command, noise.ReplaceAllString(text, "$2"))
		}
	}
	return out.String()
}
