// SPDX-License-Identifier: Apache-2.0

package hostspec

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func withID(node string, id int32) v1alpha1.HostConfig {
	return v1alpha1.HostConfig{NodeName: node, HostID: &id}
}

func TestAssignIDs(t *testing.T) {
	many := make([]string, 34)
	first := map[string]int32{}
	for i := range many {
		many[i] = fmt.Sprintf("n%02d", i)
		if i < 32 {
			first[many[i]] = int32(i + 1)
		}
	}
	for _, tc := range []struct {
		name             string
		hosts            []v1alpha1.HostConfig
		nodes            []string
		current, leaving map[string]int32
		want             Assignment
	}{
		{name: "nobody", want: Assignment{}},
		{name: "lowest free in the order of nodes", nodes: []string{"b", "a", "c"},
			want: Assignment{IDs: map[string]int32{"b": 1, "a": 2, "c": 3}}},
		{name: "kept although a lower one is free", nodes: []string{"a", "b"}, current: map[string]int32{"b": 5},
			want: Assignment{IDs: map[string]int32{"a": 1, "b": 5}}},
		{name: "gap is filled", nodes: []string{"a", "b", "c"}, current: map[string]int32{"a": 1, "b": 3},
			want: Assignment{IDs: map[string]int32{"a": 1, "b": 3, "c": 2}}},
		{name: "spec wins", hosts: []v1alpha1.HostConfig{withID("b", 1)}, nodes: []string{"a", "b"},
			want: Assignment{IDs: map[string]int32{"a": 2, "b": 1}}},
		{
			name: "spec takes an ID from a node that had it", hosts: []v1alpha1.HostConfig{withID("b", 1)},
			nodes:   []string{"a", "b"},
			current: map[string]int32{"a": 1, "b": 2}, want: Assignment{IDs: map[string]int32{"a": 2, "b": 1}},
		},
		{
			name: "spec swaps two", hosts: []v1alpha1.HostConfig{withID("a", 2), withID("b", 1)}, nodes: []string{"a", "b"},
			current: map[string]int32{"a": 1, "b": 2}, want: Assignment{IDs: map[string]int32{"a": 2, "b": 1}},
		},
		{name: "an ID in spec is kept free for an absent node", hosts: []v1alpha1.HostConfig{withID("z", 1)},
			nodes: []string{"a"}, want: Assignment{IDs: map[string]int32{"a": 2}}},
		{name: "the ID of a leaving host is not given away", nodes: []string{"b"}, leaving: map[string]int32{"a": 1},
			want: Assignment{IDs: map[string]int32{"b": 2}}},
		{
			name: "spec gives a leaving host's ID to a new node: it waits", hosts: []v1alpha1.HostConfig{withID("b", 1)},
			nodes:   []string{"b"},
			leaving: map[string]int32{"a": 1}, want: Assignment{Waiting: []string{"b"}},
		},
		{
			name:  "spec gives a leaving host's ID to a present host: it keeps its own so long",
			hosts: []v1alpha1.HostConfig{withID("b", 1)}, nodes: []string{"b"},
			current: map[string]int32{"b": 2}, leaving: map[string]int32{"a": 1},
			want: Assignment{IDs: map[string]int32{"b": 2}, Waiting: []string{"b"}},
		},
		{name: "more than 32", nodes: many, want: Assignment{IDs: first, Unassigned: []string{"n32", "n33"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := AssignIDs(tc.hosts, tc.nodes, tc.current, tc.leaving)
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// IDs are unique in every situation, and a node keeps its own as long as the spec does not give it away.
func TestAssignIDsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching("n[0-9]{1,2}"), 0, 40, rapid.ID[string]).Draw(t, "names")
		pool := rapid.Permutation(idsUpTo(v1alpha1.MaxHosts)).Draw(t, "ids")
		explicitPool := rapid.Permutation(idsUpTo(v1alpha1.MaxHosts)).Draw(t, "explicit IDs")
		var hosts []v1alpha1.HostConfig
		var nodes []string
		current, leaving := map[string]int32{}, map[string]int32{}
		explicit := map[int32]bool{}
		for i, name := range names {
			if len(hosts) < v1alpha1.MaxHosts && rapid.IntRange(0, 3).Draw(t, "has explicit ID") == 0 {
				hosts = append(hosts, withID(name, explicitPool[len(hosts)]))
				explicit[explicitPool[len(hosts)-1]] = true
			}
			switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
			case kind == 0 && i < len(pool):
				leaving[name] = pool[i]
			case kind == 1 && i < len(pool):
				current[name] = pool[i]
				nodes = append(nodes, name)
			case kind == 2:
				nodes = append(nodes, name)
			}
		}
		got := AssignIDs(hosts, nodes, current, leaving)

		takenBy := map[int32]string{}
		for name, id := range leaving {
			takenBy[id] = name
		}
		for name, id := range got.IDs {
			if other, dup := takenBy[id]; dup {
				t.Fatalf("host ID %d is given to %s and %s", id, name, other)
			}
			if id < 1 || id > v1alpha1.MaxHosts {
				t.Fatalf("host ID %d of %s is out of range", id, name)
			}
			takenBy[id] = name
		}
		for _, name := range nodes {
			_, assigned := got.IDs[name]
			if !assigned && !slices.Contains(got.Unassigned, name) && !slices.Contains(got.Waiting, name) {
				t.Fatalf("nothing is said of %s", name)
			}
			isExplicit := slices.ContainsFunc(hosts, func(h v1alpha1.HostConfig) bool { return h.NodeName == name })
			if id, had := current[name]; had && !isExplicit && !explicit[id] && got.IDs[name] != id {
				t.Fatalf("%s had %d and now has %d", name, id, got.IDs[name])
			}
		}
	})
}

func idsUpTo(n int32) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = int32(i + 1)
	}
	return ids
}
