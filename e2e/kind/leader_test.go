// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// takeOverLimit bounds what a hang of the manager's node costs those who look at kubectl.
const takeOverLimit = 10 * time.Second

// leader returns the pod of the manager at work.
func (e *environment) leader(ctx context.Context) (*corev1.Pod, error) {
	var lease coordinationv1.Lease
	if err := e.api.Get(ctx, client.ObjectKey{Namespace: systemNamespace, Name: "kube-wlbs-manager"}, &lease); err != nil {
		return nil, err
	}
	pods, err := e.managerPods(ctx)
	if err != nil {
		return nil, err
	}
	holder := value(lease.Spec.HolderIdentity)
	for i := range pods {
		if strings.HasPrefix(holder, pods[i].Name+"_") {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("no pod is the holder %q of the lease", holder)
}

// awaitLeader waits for a manager at work, and for one on other nodes than the one given.
func (e *environment) awaitLeader(t *testing.T, notOn string) *corev1.Pod {
	t.Helper()
	var found *corev1.Pod
	within(t, 2*time.Minute, "manager at work", func(ctx context.Context) error {
		leader, err := e.leader(ctx)
		if err != nil {
			return err
		}
		if leader.Spec.NodeName == notOn {
			return fmt.Errorf("it is on %s", notOn)
		}
		found = leader
		return nil
	})
	return found
}

// leaderOnWorker makes a manager the one at work that is on a worker: the control plane is what tests look at.
func (e *environment) leaderOnWorker(t *testing.T) string {
	t.Helper()
	for {
		leader := e.awaitLeader(t, "")
		if slices.Contains(e.workers, leader.Spec.NodeName) {
			return leader.Spec.NodeName
		}
		mustKubectl(t, "", "delete", "pod", "-n", systemNamespace, leader.Name)
		e.awaitLeader(t, leader.Spec.NodeName)
	}
}

// awaitTwoManagers waits until both managers are ready, the one that stands by too, and are on different nodes.
func (e *environment) awaitTwoManagers(t *testing.T) {
	t.Helper()
	within(t, 2*time.Minute, "two managers", func(ctx context.Context) error {
		manager, err := e.manager(ctx)
		if err != nil {
			return err
		}
		if manager.Status.ReadyReplicas != 2 {
			return fmt.Errorf("%d are ready", manager.Status.ReadyReplicas)
		}
		return nil
	})
}

// TestLeaderNodeHangs freezes the node of the manager at work. Status, Events and new clusters go on.
func TestLeaderNodeHangs(t *testing.T) {
	hostWorkload(t)
	c := newCluster(t, "hang")
	c.awaitConverged(t)
	c.awaitTwoManagers(t)
	victim := c.leaderOnWorker(t)
	c.awaitTwoManagers(t)
	others := c.others(victim)
	label(t, others...)
	t.Cleanup(func() { unlabel(t, others...) })
	t.Cleanup(func() { resume(t, victim) })
	keepArtifacts(t)

	hung := time.Now()
	must(t, cluster.Pause(t.Context(), victim))
	fresh := newClusterAtOnce(t, c.environment, "hang-new", selecting(testLabel, "yes"))
	shown := within(t, takeOverLimit, "status without the host that hangs", func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		if object.Status.Columns.Hosts != "2/3" {
			return fmt.Errorf("HOSTS is %s", object.Status.Columns.Hosts)
		}
		return nil
	})
	t.Logf("kubectl shows 2/3 %s after the new cluster was applied, %s after the hang", shown.Round(time.Millisecond), time.Since(hung).Round(time.Millisecond))
	within(t, time.Until(hung.Add(takeOverLimit)), "event of the lost host", func(ctx context.Context) error {
		out, err := kubectl(ctx, "", "get", "events", "-A", "--field-selector", "reason=MemberLost,involvedObject.name="+c.name, "-o", "name")
		if err == nil && out == "" {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	within(t, time.Until(hung.Add(takeOverLimit)), "hosts of a new cluster", func(ctx context.Context) error {
		hosts, err := fresh.hosts(ctx)
		if err != nil {
			return err
		}
		told := slices.DeleteFunc(hosts, func(h v1alpha1.LoadBalancingHost) bool { return len(h.Spec.VirtualIPs) == 0 })
		if len(told) != 2 {
			return fmt.Errorf("%d hosts are told to serve", len(told))
		}
		return nil
	})
	t.Logf("status, Events and a new cluster went on %s after the hang", time.Since(hung).Round(time.Millisecond))
	fresh.awaitMembers(t, convergeLimit, 2, others...)
	fresh.mustSpread(t, 100, others...)

	resume(t, victim)
	c.awaitConverged(t)
	c.awaitTwoManagers(t)
}

// resume lets a node go on, if it hangs.
func resume(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := contextFor(20 * time.Second)
	defer cancel()
	_ = cluster.Unpause(ctx, node) // fails if it does not hang
	if _, err := cluster.InNode(ctx, node, "true"); err != nil {
		t.Errorf("node %s still hangs: %v", node, err)
	}
}
