// SPDX-License-Identifier: Apache-2.0

package hostspec

import "github.com/kube-wlbs/kube-wlbs/api/v1alpha1"

// Assignment is who gets which host ID.
type Assignment struct {
	// IDs has the host ID, 1..32, of each node that becomes or stays a host.
	IDs map[string]int32
	// Unassigned are nodes for which no ID is free, in the order in which they were given.
	Unassigned []string
	// Waiting are nodes whose ID from spec.hosts is taken by a host that is still being removed.
	Waiting []string
}

// AssignIDs gives each node a host ID: the one in spec.hosts, else the one it has (current), else the lowest free one,
// in the order in which the nodes are given. Two hosts with one ID keep a cluster from converging (Microsoft KB
// Q193599), so the IDs of hosts that are being removed (leaving) are not given away before these are gone. IDs in
// spec.hosts are kept free for their nodes even while those are away.
func AssignIDs(entries []v1alpha1.HostConfig, nodes []string, current, leaving map[string]int32) Assignment {
	a := Assignment{IDs: map[string]int32{}}
	explicit, reserved := explicitIDs(entries)
	taken := map[int32]bool{}
	for _, id := range leaving {
		taken[id] = true
	}

	var rest []string
	for _, node := range nodes {
		id, ok := explicit[node]
		switch {
		case !ok:
			rest = append(rest, node)
		case taken[id]:
			a.Waiting = append(a.Waiting, node)
			if has, ok := current[node]; ok && !taken[has] && !reserved[has] {
				a.IDs[node] = has
				taken[has] = true
			}
		default:
			a.IDs[node] = id
			taken[id] = true
		}
	}

	var fresh []string
	for _, node := range rest {
		if id, ok := current[node]; ok && !taken[id] && !reserved[id] {
			a.IDs[node] = id
			taken[id] = true
			continue
		}
		fresh = append(fresh, node)
	}
	for _, node := range fresh {
		id := lowestFree(taken, reserved)
		if id == 0 {
			a.Unassigned = append(a.Unassigned, node)
			continue
		}
		a.IDs[node] = id
		taken[id] = true
	}
	return a
}

func explicitIDs(entries []v1alpha1.HostConfig) (byNode map[string]int32, reserved map[int32]bool) {
	byNode, reserved = map[string]int32{}, map[int32]bool{}
	for i := range entries {
		if id := entries[i].HostID; id != nil {
			byNode[entries[i].NodeName] = *id
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
