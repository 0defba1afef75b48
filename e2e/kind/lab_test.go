// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// The tests below prove the testbed: a fault that does not happen would let every
// test of failover pass.

func TestUnpluggedNodeIsCutOff(t *testing.T) {
	workers := threeWorkers(t)
	must(t, cluster.Unplug(t.Context(), workers[1]))
	t.Cleanup(func() { must(t, cluster.Plug(context.WithoutCancel(t.Context()), workers[1])) })
	mustNotReach(t, workers[0], workers[1])
	mustReach(t, workers[0], workers[2])

	must(t, cluster.Plug(t.Context(), workers[1]))
	eventually.Must(t, time.Minute, "reach the node that was plugged in again", func(ctx context.Context) error {
		return reach(ctx, workers[0], workers[1])
	})
}

func TestPartitionKeepsTwoNodesApart(t *testing.T) {
	workers := threeWorkers(t)
	t.Cleanup(func() { must(t, cluster.Heal(context.WithoutCancel(t.Context()))) })
	must(t, cluster.Partition(t.Context(), workers[:1], workers[1:2]))
	mustNotReach(t, workers[0], workers[1])
	mustNotReach(t, workers[1], workers[0])
	mustReach(t, workers[2], workers[0])
	mustReach(t, workers[2], workers[1])

	must(t, cluster.Heal(t.Context()))
	eventually.Must(t, time.Minute, "reach the node after the partition", func(ctx context.Context) error {
		return reach(ctx, workers[0], workers[1])
	})
}

func TestPausedNodeDoesNotAnswer(t *testing.T) {
	workers := threeWorkers(t)
	must(t, cluster.Pause(t.Context(), workers[2]))
	t.Cleanup(func() { _ = cluster.Unpause(context.WithoutCancel(t.Context()), workers[2]) })
	// The kernel still completes handshakes: it is the processes that hang.
	if _, err := cluster.InNode(t.Context(), workers[2], "true"); err == nil {
		t.Error("a program was run in a paused node")
	}
	must(t, cluster.Unpause(t.Context(), workers[2]))
	eventually.Must(t, time.Minute, "run a program in the node", func(ctx context.Context) error {
		_, err := cluster.InNode(ctx, workers[2], "true")
		return err
	})
}

func TestKilledNodeComesBackWithItsAddress(t *testing.T) {
	workers := threeWorkers(t)
	before, err := cluster.Address(t.Context(), workers[2])
	must(t, err)
	must(t, cluster.Kill(t.Context(), workers[2]))
	t.Cleanup(func() { _ = cluster.Start(context.WithoutCancel(t.Context()), workers[2]) })
	eventually.Must(t, time.Minute, "see the node end", func(ctx context.Context) error {
		if _, err := cluster.PID(ctx, workers[2]); err == nil {
			return errors.New("it runs")
		}
		return nil
	})
	must(t, cluster.Start(t.Context(), workers[2]))
	eventually.Must(t, time.Minute, "reach the node that was started again", func(ctx context.Context) error {
		after, err := cluster.Address(ctx, workers[2])
		if err != nil {
			return err
		}
		if after != before {
			return fmt.Errorf("its address is %s, and was %s", after, before)
		}
		return reach(ctx, workers[0], workers[2])
	})
}

func threeWorkers(t *testing.T) []string {
	t.Helper()
	workers, err := cluster.Workers(t.Context())
	must(t, err)
	if len(workers) != 3 {
		t.Fatalf("there are %d workers, want 3", len(workers))
	}
	return workers
}

// reach makes a TCP connection from node to node, to the port of the kubelet.
func reach(ctx context.Context, from, to string) error {
	address, err := cluster.Address(ctx, to)
	if err != nil {
		return err
	}
	script := fmt.Sprintf("exec 3<>/dev/tcp/%s/10250", address)
	_, err = cluster.InNodeNet(ctx, from, "timeout", "1", "bash", "-c", script)
	return err
}

// mustReach tries again: a busy machine may not even start a program within the time that a packet has.
func mustReach(t *testing.T, from, to string) {
	t.Helper()
	eventually.Must(t, time.Minute, from+" reaches "+to, func(ctx context.Context) error { return reach(ctx, from, to) })
}

func mustNotReach(t *testing.T, from, to string) {
	t.Helper()
	if err := reach(t.Context(), from, to); err == nil {
		t.Errorf("%s reaches %s", from, to)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
