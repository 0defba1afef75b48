// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/google/go-cmp/cmp"
)

//go:embed testdata/nodestate.sh
var nodeStateScript string

// nodeState is everything on a node that an agent may change, one fact a line, sorted: what must be after a cluster's
// removal as it was before.
func nodeState(ctx context.Context, node string) ([]string, error) {
	out, err := cluster.InNode(ctx, node, "bash", "-c", nodeStateScript)
	if err != nil {
		return nil, err
	}
	var state []string
	for line := range strings.Lines(out) {
		state = append(state, strings.Join(strings.Fields(line), " "))
	}
	programs, err := attachedPrograms(ctx, node)
	state = append(state, programs...)
	slices.Sort(state)
	return state, err
}

// attachedPrograms lists the BPF programs on the node's interfaces; the node has no bpftool.
func attachedPrograms(ctx context.Context, node string) ([]string, error) {
	var found []string
	err := inNodeNet(ctx, node, func() error {
		for _, name := range []string{"lo", "eth0"} {
			iface, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			for hook, attach := range map[string]ebpf.AttachType{
				"TCX ingress": ebpf.AttachTCXIngress, "TCX egress": ebpf.AttachTCXEgress,
			} {
				result, err := link.QueryPrograms(link.QueryOptions{Target: iface.Index, Attach: attach})
				if err != nil {
					return fmt.Errorf("%s of %s: %w", hook, name, err)
				}
				for _, p := range result.Programs {
					found = append(found, fmt.Sprintf("program: %s at %s of %s", programName(p.ID), hook, name))
				}
			}
		}
		return nil
	})
	return found, err
}

func programName(id ebpf.ProgramID) string {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return fmt.Sprintf("number %d", id)
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return fmt.Sprintf("number %d", id)
	}
	return info.Name
}

// nodeStates are the states of all workers.
func (e *environment) nodeStates(t *testing.T) map[string][]string {
	t.Helper()
	states := map[string][]string{}
	for _, node := range e.workers {
		state, err := nodeState(t.Context(), node)
		must(t, err)
		states[node] = state
	}
	return states
}

// awaitNodeState waits until a node is as it was. What is given back last, by kernel or kubelet, takes a moment.
func awaitNodeState(t *testing.T, node string, before []string) {
	t.Helper()
	within(t, time.Minute, "node "+node+" as it was before", func(ctx context.Context) error {
		now, err := nodeState(ctx, node)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(before, now); diff != "" {
			return fmt.Errorf("it differs (-before +now):\n%s", diff)
		}
		return nil
	})
}

// additions are the facts of a state that another has not.
func additions(before, now []string) []string {
	return slices.DeleteFunc(slices.Clone(now), func(fact string) bool { return slices.Contains(before, fact) })
}
