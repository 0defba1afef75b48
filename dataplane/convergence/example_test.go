// SPDX-License-Identifier: Apache-2.0

package convergence_test

import (
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// Two hosts start at once on a network without loss. Time is an argument, so a second of it takes
// no time.
func Example() {
	policy := convergence.Policy{Generation: 1, Digest: 4711, RuleCount: 1}
	for slot := range policy.Slots {
		policy.Slots[slot].Mode = placement.Unused
	}
	policy.Slots[0] = convergence.SlotPolicy{Mode: placement.Multiple, Digest: 1, Weight: 50, Name: "http"}
	policy.Slots[bucket.DefaultSlot] = convergence.SlotPolicy{Mode: placement.Multiple, Digest: 2, Weight: 50}

	const hosts = 2
	var machines [hosts]*convergence.Machine
	var outputs [hosts]convergence.Output
	for i := range machines {
		machines[i] = convergence.New(convergence.Settings{
			HostID: uint8(i + 1), HostKey: uint32(i + 1), Incarnation: 1, ClusterKey: 1,
			Period: 200 * time.Millisecond, Tolerance: 5,
		}, 0)
		outputs[i] = machines[i].Step(0,
			convergence.Offer{Policy: policy}, convergence.AdminStateChanged{State: convergence.Started})
	}
	for now := time.Millisecond; now < time.Second; now += time.Millisecond {
		var wire []*heartbeat.Message
		for _, out := range &outputs { // here the filter would be set first: peers rely on it
			if out.Send != nil {
				wire = append(wire, out.Send)
			}
		}
		for i, m := range machines {
			events := []convergence.Event{convergence.Tick{}}
			for _, message := range wire {
				events = append(events, convergence.Received{Message: message})
			}
			outputs[i] = m.Step(now, events...)
		}
	}
	for i, out := range &outputs {
		fmt.Printf("host %d: %s, accepts %d buckets of rule http, %d of other ports\n",
			i+1, out.View.State, out.Decision.Accept[0].Len(), out.Decision.Accept[bucket.DefaultSlot].Len())
	}
	// Output:
	// host 1: Converged, accepts 30 buckets of rule http, 60 of other ports
	// host 2: Converged, accepts 30 buckets of rule http, 0 of other ports
}
