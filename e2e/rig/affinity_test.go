// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"fmt"
	"maps"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// stickyClients are clients of one rule with extended affinity, and where each was served last.
type stickyClients struct {
	rule string
	port uint16
	udp  bool
	home map[netip.Addr]string
}

// owners returns the host that owns each bucket of a rule.
func (r *Rig) owners(t *testing.T, rule string, hosts ...*Host) [bucket.Count]string {
	t.Helper()
	var out [bucket.Count]string
	for _, h := range hosts {
		is, err := h.Query(soon(t, 5*time.Second))
		must(t, err)
		for _, b := range is.Status.Buckets {
			owned, err := strconv.ParseUint(b.Map, 16, 64)
			must(t, err)
			for i := range out {
				if b.Rule == rule && bucket.Map(owned).Has(i) {
					out[i] = h.Name
				}
			}
		}
	}
	return out
}

// visit lets clients connect once each, and returns who served them.
func (r *Rig) visit(t *testing.T, s *stickyClients, first, count int) map[netip.Addr]string {
	t.Helper()
	report, err := r.Do(Load{
		Target: vipPort(s.port), First: first, Clients: count, Connections: 1, UDP: s.udp, Interval: 300 * time.Millisecond, Timeout: 10 * time.Second,
	})
	must(t, err)
	none(t, report.Failed(), len(report.Attempts))
	return report.HostOf()
}

// stay requires that the clients are served where they were, and those whose host is gone, or that are new, where their bucket is.
func (r *Rig) stay(t *testing.T, what string, s *stickyClients, first, count int, hosts ...*Host) {
	t.Helper()
	owners := r.owners(t, s.rule, hosts...)
	alive := map[string]bool{}
	for _, h := range hosts {
		alive[h.Name] = true
	}
	away, wrong := 0, 0
	for client, got := range r.visit(t, s, first, count) {
		owner := owners[bucket.Of(client, 0)]
		want := s.home[client]
		if !alive[want] {
			want = owner
		}
		if want != owner {
			away++
		}
		if got != want {
			wrong++
			t.Logf("%s: rule %s: client %s was served by %s, want %s; it was at %q, its bucket is at %s", what, s.rule, client, got, want, s.home[client], owner)
		}
		s.home[client] = got
	}
	t.Logf("%s: rule %s: %d of %d clients are away from their buckets' owners", what, s.rule, away, count)
	if wrong > 0 {
		t.Errorf("%s: rule %s: %d of %d clients were served elsewhere", what, s.rule, wrong, count)
	}
}

// Clients with extended affinity keep their hosts without a connection, whoever joins, restarts, drains, is cut off or dies, and
// new ones go where their buckets are. In the end, all do.
func TestExtendedAffinity(t *testing.T) {
	const known, clients = 120, Clients
	r := newRig(t, 3, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules = []v1alpha1.PortRule{
			rule("http", HTTPPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle),
			rule("dns", SecondPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle),
			rule("plain", ThirdPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle),
		}
		setTimeouts(c, 600)
	})
	r.useAgent(t)
	a, b, c := r.Hosts[0], r.Hosts[1], r.Hosts[2]
	rules := []*stickyClients{
		{rule: "http", port: HTTPPort, home: map[netip.Addr]string{}},
		{rule: "dns", port: SecondPort, udp: true, home: map[netip.Addr]string{}},
	}
	all := func(what string, first, count int, hosts ...*Host) {
		t.Helper()
		for _, s := range rules {
			r.stay(t, what, s, first, count, hosts...)
		}
	}
	r.opts.AgentFlags = []string{"--restart-hold", "20s"}
	must(t, a.Start())
	must(t, b.Start())
	r.converged(t, a, b)
	all("at first", 0, known, a, b)

	capture, err := r.StartCapture()
	must(t, err)
	must(t, c.Start())
	r.converged(t, a, b, c)
	all("after a join", 0, known, a, b, c)
	all("new after a join", known, clients-known, a, b, c)
	for _, s := range rules {
		if n := count(s.home, c.Name); n == 0 {
			t.Errorf("rule %s: none of the new clients went to the new host", s.rule)
		}
	}
	plain := &stickyClients{rule: "plain", port: ThirdPort, home: map[netip.Addr]string{}}
	r.stay(t, "a rule without", plain, 0, clients, a, b, c)

	must(t, b.Stop())
	must(t, b.Start())
	r.converged(t, a, b, c)
	all("after an agent's restart", 0, clients, a, b, c)

	r.desired(t, a, v1alpha1.DesiredStateDrained) // it takes no new connection of anybody
	r.converged(t, b, c)
	all("after a drain", 0, clients, b, c)
	r.desired(t, a, v1alpha1.DesiredStateStarted)
	r.converged(t, a, b, c)
	all("after a return", 0, clients, a, b, c)

	must(t, r.Partition(c)) // the clients are on the other side
	r.converged(t, a, b)
	all("while partitioned", 0, clients, a, b)
	must(t, r.Heal())
	r.converged(t, a, b, c)
	all("after a merge", 0, clients, a, b, c)

	must(t, b.PowerOff())
	r.converged(t, a, c)
	all("after a crash", 0, clients, a, c)
	frames, err := capture.Stop()
	must(t, err)
	r.onceAccepted(t, frames)

	setTimeouts(r.Cluster, 1)
	must(t, r.WriteCluster())
	r.followBuckets(t, rules, clients, a, c)
}

// A host that cannot learn whom it must leave alone serves in the end, and says so.
func TestExtendedAffinityWithoutLists(t *testing.T) {
	needTool(t, "nft")
	r := newRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
		c.Spec.PortRules = []v1alpha1.PortRule{rule("http", HTTPPort, v1alpha1.FilteringModeMultiple, v1alpha1.AffinitySingle)}
		c.Spec.PortRules[0].AffinityTimeoutSeconds = new(int32(600))
	})
	r.useAgent(t)
	a, b := r.Hosts[0], r.Hosts[1]
	must(t, a.Start())
	r.converged(t, a)
	s := &stickyClients{rule: "http", port: HTTPPort, home: map[netip.Addr]string{}}
	r.stay(t, "alone", s, 0, 60, a)
	// Heartbeats pass, lists (signature 0xC0DE01DE, little-endian) do not.
	for _, command := range []string{
		"add table netdev lists",
		"add chain netdev lists in { type filter hook ingress device " + a.Port + " priority 0 ; }",
		"add rule netdev lists in ether type 0x886f @ll,112,32 0xde01dec0 drop",
	} {
		_, err := r.Bridge.Run("nft", strings.Fields(command)...)
		must(t, err)
	}
	must(t, b.Start())
	r.converged(t, a, b)
	must(t, poll(soon(t, 20*time.Second), func() error {
		is, err := b.Query(t.Context())
		if err != nil {
			return err
		}
		if last := is.Status.LastConvergence; last == nil || last.Cause != v1alpha1.CauseStickinessSynchronizationFailure {
			return fmt.Errorf("last convergence of %s: %+v", b.Name, last)
		}
		return nil
	}))
	if n := count(r.visit(t, &stickyClients{rule: "http", port: HTTPPort}, 60, Clients-60), b.Name); n == 0 {
		t.Errorf("%s serves nobody", b.Name)
	}
}

func setTimeouts(c *v1alpha1.LoadBalancingCluster, seconds int32) {
	for i := range c.Spec.PortRules[:2] {
		c.Spec.PortRules[i].AffinityTimeoutSeconds = &seconds
	}
}

func count(home map[netip.Addr]string, host string) int {
	n := 0
	for h := range maps.Values(home) {
		if h == host {
			n++
		}
	}
	return n
}

// followBuckets waits until all clients, who pause for longer than the timeout between two connections, are where their buckets are.
func (r *Rig) followBuckets(t *testing.T, rules []*stickyClients, clients int, hosts ...*Host) {
	t.Helper()
	must(t, poll(soon(t, time.Minute), func() error {
		letPass(t, 3*time.Second)
		for _, s := range rules {
			owners, away := r.owners(t, s.rule, hosts...), 0
			for client, got := range r.visit(t, s, 0, clients) {
				if got != owners[bucket.Of(client, 0)] {
					away++
				}
			}
			if away > 0 {
				return fmt.Errorf("rule %s: %d of %d clients are away from their buckets' owners after the timeout", s.rule, away, clients)
			}
		}
		return nil
	}))
}
