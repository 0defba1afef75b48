// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"golang.org/x/sys/unix"
)

// awaitReady waits until all nodes are ready and the manager runs.
func (e *environment) awaitReady(t *testing.T) {
	t.Helper()
	within(t, 3*time.Minute, "nodes and manager ready", func(ctx context.Context) error {
		var nodes corev1.NodeList
		if err := e.api.List(ctx, &nodes); err != nil {
			return err
		}
		for _, n := range nodes.Items {
			if !nodeReady(&n) {
				return fmt.Errorf("node %s is not ready", n.Name)
			}
		}
		manager, err := e.manager(ctx)
		if err != nil {
			return err
		}
		if manager.Status.AvailableReplicas == 0 {
			return fmt.Errorf("the manager is not available")
		}
		return nil
	})
}

// nodeReady reports whether a node is ready, and not tainted for a failure that is over.
func nodeReady(n *corev1.Node) bool {
	ready := slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
	return ready && !slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
	})
}

// manager returns the operator's only Deployment.
func (e *environment) manager(ctx context.Context) (*appsv1.Deployment, error) {
	var list appsv1.DeploymentList
	if err := e.api.List(ctx, &list, client.InNamespace(systemNamespace)); err != nil {
		return nil, err
	}
	if len(list.Items) != 1 {
		return nil, fmt.Errorf("there are %d Deployments in %s, want the manager's: is the operator deployed?", len(list.Items), systemNamespace)
	}
	return &list.Items[0], nil
}

// managerPods returns the manager's pods.
func (e *environment) managerPods(ctx context.Context) ([]corev1.Pod, error) {
	manager, err := e.manager(ctx)
	if err != nil {
		return nil, err
	}
	return e.pods(ctx, manager.Spec.Selector.MatchLabels)
}

// agentPod returns the pod of the agent on a node.
func (e *environment) agentPod(ctx context.Context, node string) (*corev1.Pod, error) {
	pods, err := e.pods(ctx, map[string]string{"app.kubernetes.io/name": "wlbs-agent"})
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if pods[i].Spec.NodeName == node && pods[i].DeletionTimestamp.IsZero() {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("there is no agent on node %s", node)
}

func (e *environment) pods(ctx context.Context, labels map[string]string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := e.api.List(ctx, &list, client.InNamespace(systemNamespace), client.MatchingLabels(labels))
	return list.Items, err
}

// workersWithoutManager returns the workers on which the manager does not run, whose failure it reports.
func (e *environment) workersWithoutManager(t *testing.T) []string {
	t.Helper()
	pods, err := e.managerPods(t.Context())
	must(t, err)
	return slices.DeleteFunc(slices.Clone(e.workers), func(node string) bool {
		return slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.Spec.NodeName == node })
	})
}

// others returns the workers but one.
func (e *environment) others(node string) []string {
	return slices.DeleteFunc(slices.Clone(e.workers), func(w string) bool { return w == node })
}

// macs returns the workers' own Ethernet addresses.
func (e *environment) macs(t *testing.T) map[string]net.HardwareAddr {
	t.Helper()
	found := map[string]net.HardwareAddr{}
	for _, node := range e.workers {
		mac, err := e.macOf(t.Context(), node)
		must(t, err)
		found[node] = mac
	}
	return found
}

// macOf returns a node's own Ethernet address.
func (e *environment) macOf(ctx context.Context, node string) (net.HardwareAddr, error) {
	text, err := cluster.InNode(ctx, node, "cat", "/sys/class/net/eth0/address")
	if err != nil {
		return nil, err
	}
	return net.ParseMAC(strings.TrimSpace(text))
}

// inNodeNet calls work in a node's network namespace.
func inNodeNet(ctx context.Context, node string, work func() error) error {
	pid, err := cluster.PID(ctx, node)
	if err != nil {
		return err
	}
	result := make(chan error, 1)
	go func() {
		// The thread is in another namespace then: it is not unlocked, and so ends with the goroutine.
		runtime.LockOSThread()
		result <- func() error {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("network namespace of node %s: %w", node, err)
			}
			return work()
		}()
	}()
	return <-result
}
