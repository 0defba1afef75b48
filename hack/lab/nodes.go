// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Nodes lists the cluster's nodes by name, running or not.
func (l *Lab) Nodes(ctx context.Context) ([]string, error) {
	return l.nodes(ctx, "label=io.x-k8s.kind.cluster="+l.Name)
}

// Workers lists the nodes that are not the control plane.
func (l *Lab) Workers(ctx context.Context) ([]string, error) {
	return l.nodes(ctx, "label=io.x-k8s.kind.cluster="+l.Name, "label=io.x-k8s.kind.role=worker")
}

func (l *Lab) nodes(ctx context.Context, filters ...string) ([]string, error) {
	args := []string{"ps", "--all", "--format", "{{.Names}}"}
	for _, f := range filters {
		args = append(args, "--filter", f)
	}
	out, err := l.engine(ctx, args...)
	if err != nil {
		return nil, err
	}
	names := strings.Fields(out)
	slices.Sort(names)
	return names, nil
}

// InNode runs a program of the node in the node.
func (l *Lab) InNode(ctx context.Context, node string, command ...string) (string, error) {
	return l.engine(ctx, append([]string{"exec", node}, command...)...)
}

// InNodeNet runs a program of the machine in the node's network namespace.
func (l *Lab) InNodeNet(ctx context.Context, node string, command ...string) (string, error) {
	pid, err := l.PID(ctx, node)
	if err != nil {
		return "", err
	}
	args := append([]string{"--net", "--target", strconv.Itoa(pid), "--"}, command...)
	return l.Output(ctx, "nsenter", args...)
}

// PID is the process ID, on the machine, of the node's first process.
func (l *Lab) PID(ctx context.Context, node string) (int, error) {
	out, err := l.engine(ctx, "inspect", "--type", "container", "--format", "{{.State.Pid}}", node)
	if err != nil {
		return 0, err
	}
	pid, err := strconv.Atoi(out)
	if err != nil || pid == 0 {
		return 0, fmt.Errorf("node %s does not run", node)
	}
	return pid, nil
}

// Pause freezes all processes of a node, as when it hangs; the link stays up.
func (l *Lab) Pause(ctx context.Context, node string) error {
	_, err := l.engine(ctx, "pause", node)
	return err
}

// Unpause lets a paused node go on.
func (l *Lab) Unpause(ctx context.Context, node string) error {
	_, err := l.engine(ctx, "unpause", node)
	return err
}

// Stop shuts a node down in order.
func (l *Lab) Stop(ctx context.Context, node string) error {
	_, err := l.engine(ctx, "stop", node)
	return err
}

// Kill ends a node without warning, as when its power fails.
func (l *Lab) Kill(ctx context.Context, node string) error {
	_, err := l.engine(ctx, "kill", "--signal", "KILL", node)
	return err
}

// Start starts a node that was stopped or killed. It comes back with the
// addresses it had, but with another port on the bridge.
func (l *Lab) Start(ctx context.Context, nodes ...string) error {
	_, err := l.engine(ctx, append([]string{"start"}, nodes...)...)
	return err
}

// Ghost reports whether the engine takes a node for running that does not: that is
// what it believes after all processes were killed from outside, and it can then
// neither stop nor start the node.
func (l *Lab) Ghost(ctx context.Context, node string) (bool, error) {
	out, err := l.engine(ctx, "inspect", "--type", "container", "--format", "{{.State.Running}} {{.State.Pid}} {{.Id}}",
		node)
	if err != nil {
		return false, err
	}
	state := strings.Fields(out)
	if len(state) != 3 {
		return false, fmt.Errorf("node %s has the state %q", node, out)
	}
	if state[0] != "true" {
		return false, nil
	}
	// The number may have been given to another process since: the container's
	// own is in the container's control group.
	groups, err := os.ReadFile("/proc/" + state[1] + "/cgroup")
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return !strings.Contains(string(groups), state[2]), err
}
