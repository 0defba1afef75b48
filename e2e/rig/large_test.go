// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Eight hosts, which do not divide 60, for clients of both families; two of them go at once.
func TestEightHosts(t *testing.T) {
	r := startRig(t, 8, dualStack)
	r.spread(t, VIP, Clients)
	r.spread(t, VIP6, Clients)
	must(t, r.eachBucketOnce(t.Context()))

	run := probing(t, r)
	letPass(t, time.Second)
	gone := []*Host{r.Hosts[0], r.Hosts[5]}
	for _, h := range gone {
		must(t, h.PowerOff())
	}
	r.converged(t, r.Hosts[1], r.Hosts[2], r.Hosts[3], r.Hosts[4], r.Hosts[6], r.Hosts[7])
	letPass(t, time.Second)
	noOutage(t, stop(t, run))
	for _, h := range gone {
		must(t, h.PowerOn())
	}
	r.converged(t, r.Hosts...)
	r.spread(t, VIP, Clients)
	r.spread(t, VIP6, Clients)
	must(t, r.eachBucketOnce(t.Context()))
}

// Q197863: two groups that do not hear each other both converge and serve, each with a default host. When they hear each other, that is
// noticed (event 18), and one of them remains. What the group that steps back has accepted stays with it.
func TestQ197863(t *testing.T) {
	r := startRig(t, 8, nil)
	far, near := r.Hosts[:4], r.Hosts[4:]
	before := r.hold(t, 0)
	letPass(t, time.Second)
	must(t, r.Partition(far...))
	r.converged(t, far...)
	r.converged(t, near...)
	for host, want := range map[*Host]int32{far[3]: 1, near[3]: 5} {
		is, err := host.Query(t.Context())
		must(t, err)
		if got := is.Status.DefaultHostID; got == nil || *got != want {
			t.Errorf("%s has default host %v, want %d", host.Name, got, want)
		}
	}
	during := r.hold(t, 60)
	run := probing(t, r)
	letPass(t, 2*time.Second)
	must(t, r.Heal())
	r.converged(t, r.Hosts...)
	must(t, r.eachBucketOnce(t.Context()))
	letPass(t, 2*time.Second)

	report := stop(t, run)
	t.Logf("%d of %d attempts failed, those of the moment in which both groups served", len(report.Failed()), len(report.Attempts))
	noOutage(t, report)
	kept := stop(t, during)
	none(t, kept.Failed(), len(kept.Attempts))
	if got := kept.ByHost(); len(got) != len(near) {
		t.Errorf("connections of the partition by host: %v, want all of the near group", got)
	}
	old := stop(t, before)
	home, broken := old.HostOf(), map[string]int{}
	for _, a := range old.Failed() {
		broken[home[a.Client]]++
	}
	t.Logf("broken of 60 connections from before, by host: %v", broken)
	for _, h := range near {
		if broken[h.Name] > 0 {
			t.Errorf("%d connections at %s broke, which the clients could reach all the time", broken[h.Name], h.Name)
		}
	}
	r.mergeIsToldOnce(t)
}

// hold keeps 60 connections from the clients from first on.
func (r *Rig) hold(t *testing.T, first int) *Running {
	t.Helper()
	run, err := r.StartLoad(Load{
		Target: vipPort(HTTPPort), First: first, Clients: 60, Hold: true, Interval: 100 * time.Millisecond, Timeout: 10 * time.Second,
	})
	must(t, err)
	return run
}

// mergeIsToldOnce looks for event 18 in the hosts' logs: somebody says it, and nobody twice (KB Q247719).
func (r *Rig) mergeIsToldOnce(t *testing.T) {
	t.Helper()
	told := 0
	for _, h := range r.Hosts {
		log, err := os.ReadFile(h.AgentLog())
		must(t, err)
		n := strings.Count(string(log), "kind=PartitionMerged")
		if n > 1 {
			t.Errorf("%s tells of the merge %d times", h.Name, n)
		}
		if n > 0 && !strings.Contains(string(log), "The network may have been inadvertently partitioned") {
			t.Errorf("%s tells of the merge in other words than NLB", h.Name)
		}
		told += n
	}
	if told == 0 {
		t.Error("no host tells of the merge")
	}
	t.Logf("%d hosts tell of the merge", told)
}
