// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// assignment is who gets which host ID.
type assignment struct {
	// ids has the host ID of each node that becomes or stays a host.
	ids map[string]int32
	// unassigned are nodes for which no ID is free, in the order of their names.
	unassigned []string
	// waiting are nodes whose ID from spec.hosts is held by a host that is still being removed.
	waiting []string
}

// assignHostIDs gives each node a host ID: the one in spec.hosts, else the one it has, else the lowest free one.
// Two hosts with one ID keep a cluster from converging (Microsoft KB Q193599), so the IDs of hosts that are being removed
// are not given away before these are gone. IDs in spec.hosts are kept free for their nodes even while those are away.
func assignHostIDs(hosts []v1alpha1.HostConfig, nodes []string, current, leaving map[string]int32) assignment {
	a := assignment{ids: map[string]int32{}}
	explicit, reserved := explicitIDs(hosts)
	taken := map[int32]bool{}
	for _, id := range leaving {
		taken[id] = true
	}
	nodes = slices.Sorted(slices.Values(nodes))

	var rest []string
	for _, node := range nodes {
		id, ok := explicit[node]
		switch {
		case !ok:
			rest = append(rest, node)
		case taken[id]:
			a.waiting = append(a.waiting, node)
			if has, ok := current[node]; ok && !taken[has] && !reserved[has] {
				a.ids[node] = has
				taken[has] = true
			}
		default:
			a.ids[node] = id
			taken[id] = true
		}
	}

	var fresh []string
	for _, node := range rest {
		if id, ok := current[node]; ok && !taken[id] && !reserved[id] {
			a.ids[node] = id
			taken[id] = true
			continue
		}
		fresh = append(fresh, node)
	}
	for _, node := range fresh {
		id := lowestFree(taken, reserved)
		if id == 0 {
			a.unassigned = append(a.unassigned, node)
			continue
		}
		a.ids[node] = id
		taken[id] = true
	}
	return a
}

func explicitIDs(hosts []v1alpha1.HostConfig) (byNode map[string]int32, reserved map[int32]bool) {
	byNode, reserved = map[string]int32{}, map[int32]bool{}
	for i := range hosts {
		if id := hosts[i].HostID; id != nil {
			byNode[hosts[i].NodeName] = *id
			reserved[*id] = true
		}
	}
	return byNode, reserved
}

func lowestFree(taken, reserved map[int32]bool) int32 {
	for id := int32(1); id <= v1alpha1.MaxHosts; id++ {
		if !taken[id] && !reserved[id] {
			return id
		}
	}
	return 0
}
