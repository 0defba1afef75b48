// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// The tests in this file fix what hosts of different versions must agree on: see docs/design/wire.md.

// wirePolicy is a policy with a slot of each mode.
func wirePolicy() *Policy {
	p := &Policy{Digest: 0x6162636465666768, RuleCount: 3}
	p.Slots[0] = SlotPolicy{Mode: placement.Multiple}
	p.Slots[1] = SlotPolicy{Mode: placement.Single}
	p.Slots[2] = SlotPolicy{Mode: placement.Disabled}
	p.Slots[bucket.DefaultSlot] = SlotPolicy{Mode: placement.Multiple}
	return p
}

// wireMessage is the heartbeat of one of three hosts that have served by wirePolicy, with buckets of slot 0.
func wireMessage(id uint8, owned bucket.Map) *heartbeat.Message {
	m := &heartbeat.Message{
		HostID: id,
		Extension: heartbeat.Extension{
			Flags: heartbeat.Serving, HostKey: 0x1000 + uint32(id), Incarnation: 7, InForce: wirePolicy().Digest,
			Committed: heartbeat.Round{Number: 12, Leader: 1},
		},
	}
	m.Current[0] = owned
	for slot, weight := range map[int]uint32{0: 10 * uint32(id), 1: 50, 2: 50, bucket.DefaultSlot: 50} {
		mode := wirePolicy().Slots[slot].Mode
		m.Weights[slot], m.Rules[slot] = weight, heartbeat.NewRule(uint8(mode), heartbeat.Enabled, 31+id, 0x123456)
	}
	return m
}

// What a round is computed from, and what comes of it, is compared among all hosts of a cluster.
func TestGoldenRoundDigests(t *testing.T) {
	m := New(Settings{HostID: 1}, 0)
	m.self = wireMessage(1, 0xff)
	m.peers[2].msg, m.peers[3].msg = wireMessage(2, 0xff00), wireMessage(3, 0xff0000)
	m.peers[3].msg.Flags |= heartbeat.Draining
	m.live = heartbeat.SetOf(2, 3)
	policy, view := wirePolicy(), heartbeat.SetOf(1, 2, 3)

	inputs, _, ok := m.inputsOf(view, policy.Digest)
	if !ok {
		t.Fatal("the inputs are not complete")
	}
	if want := uint64(0x0d9f779703d0ec72); inputs != want {
		t.Errorf("RoundInputs %#016x, want %#016x", inputs, want)
	}
	if got, want := m.assign(view, policy).digest, uint32(0x578b22fe); got != want {
		t.Errorf("RoundResult %#08x, want %#08x", got, want)
	}
}

// Numbers in heartbeats. What follows later gets a number of its own.
func TestGoldenNumbers(t *testing.T) {
	var states, causes []string
	for s := StateStopped; s <= StateDisconnected; s++ {
		states = append(states, s.String())
	}
	for c := CauseNone; c <= CauseMemberLeft; c++ {
		causes = append(causes, c.String())
	}
	if diff := cmp.Diff([]string{"Stopped", "Suspended", "Converging", "Converged", "Draining", "Excluded", "Leaving",
		"Disconnected"}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"", "BadConfig", "NewMember", "Unknown", "DuplicateHostID", "NumberOfRules", "ModifiedRules", "MemberLost",
		"ModifiedParams", "MemberLeft",
	}, causes); diff != "" {
		t.Errorf("causes (-want +got):\n%s", diff)
	}
}
