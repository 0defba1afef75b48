// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// outageLimit bounds what clients see of a host's crash, for a part of their connections. The budget is 1.5 s with the
// default heartbeat; here everything shares two cores.
const outageLimit = 8 * time.Second

// TestKilledNode ends a node without warning, which is the one that leads the convergence if the manager is not on it. It
// is the one, too, that serves alone where the filtering mode is Single.
func TestKilledNode(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "killed")
	victim := c.workersWithoutManager(t)[0]
	survivors := c.others(victim)
	// The order of priorities is not that of host IDs.
	single := newCluster(t, "killed-single", handlingPriorities(victim, survivors[1], survivors[0]))
	c.awaitConverged(t)
	single.awaitConverged(t)
	single.mustBeServedBy(t, victim)

	clients := c.steady().start(t)
	pause(t, time.Second)
	t.Cleanup(func() { startNode(t, victim) })
	keepArtifacts(t)
	killed := time.Now()
	must(t, cluster.Kill(t.Context(), victim))
	c.awaitMembers(t, reportLimit, 3, survivors...)
	t.Logf("kubectl shows 2/3 %s after the kill of %s", time.Since(killed).Round(time.Millisecond), victim)
	single.awaitMembers(t, reportLimit, 3, survivors...)
	single.mustBeServedBy(t, survivors[1])
	c.mustShowLost(t, victim)
	pause(t, 3*time.Second)
	mustSurviveCrash(t, clients.stop(), killed)
	c.mustSpread(t, 200, survivors...)
	c.mustBeMissed(t, victim)

	started := time.Now()
	startNode(t, victim)
	c.awaitMembers(t, 3*time.Minute, 3, c.workers...)
	t.Logf("the node is a member again %s after its start", time.Since(started).Round(time.Millisecond))
	single.awaitConverged(t)
	awaitHostWorkload(t)
	c.mustSpread(t, 300, c.workers...)
	single.mustBeServedBy(t, victim)
	c.mustPrintColumns(t)
}

// mustBeMissed checks that kubectl wlbs tells a script that a host is lost, although its last report, whose lease is not over
// for long, says that it has converged.
func (c *vipCluster) mustBeMissed(t *testing.T, node string) {
	t.Helper()
	within(t, reportLimit, "exit code of kubectl wlbs query", func(ctx context.Context) error {
		s, err := tryWLBS(ctx, "query", c.name)
		if err == nil && s.code != exitNotConverged {
			err = fmt.Errorf("it is %d, want %d\n%s", s.code, exitNotConverged, s.out)
		}
		return err
	})
	wlbs(t, exitOK, words("query %s:%s", c.name, c.others(node)[0]))
}

// startNode starts a node that was killed; one that runs is left as it is.
func startNode(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	if _, err := cluster.PID(ctx, node); err == nil {
		return
	}
	must(t, cluster.Start(ctx, node))
}

// mustShowLost checks what is said of a host that cannot report that it is gone: its peers do.
func (c *vipCluster) mustShowLost(t *testing.T, node string) {
	t.Helper()
	within(t, reportLimit, "status of the lost host", func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		for _, h := range object.Status.Hosts {
			if h.NodeName == node && (h.State != v1alpha1.HostUnknown || h.Membership != v1alpha1.MembershipNotMember) {
				return fmt.Errorf("host %s is %s, %s; want NotMember, Unknown", node, h.Membership, h.State)
			}
		}
		return nil
	})
	rest := c.others(node)
	c.awaitBuckets(t, map[string]int32{rest[0]: 30, rest[1]: 30})
	t.Logf("kubectl get lbc,lbh\n%s", mustKubectl(t, "", "get", "lbc,lbh"))
}

// mustSurviveCrash checks that clients saw one outage, for a part of the connections and for a bounded time.
func mustSurviveCrash(t *testing.T, attempts []attempt, crash time.Time) {
	t.Helper()
	failed := failures(attempts)
	t.Logf("clients saw an outage of %s, %d failed connections (%s)", gap(attempts).Round(time.Millisecond), len(failed), summary(attempts))
	if len(failed) == 0 {
		t.Error("no connection failed: was the node killed?")
		return
	}
	if first := failed[0].start.Sub(crash); first < -connectionTimeout {
		t.Errorf("a connection failed %s before the crash", -first)
	}
	if last := failed[len(failed)-1].start.Sub(crash); last > outageLimit {
		t.Errorf("a connection still failed %s after the crash, the limit is %s", last, outageLimit)
	}
}
