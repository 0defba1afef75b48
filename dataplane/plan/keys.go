// SPDX-License-Identifier: Apache-2.0

package plan

import "hash/fnv"

// HostKey stands for the node in heartbeats; it is never 0.
func (p *Plan) HostKey() uint32 { return key(p.NodeName) }

// ClusterKey stands for the cluster in heartbeats; it is never 0.
func (p *Plan) ClusterKey() uint32 { return key(p.ClusterName, p.Primary.String()) }

// key returns a short name for what its arguments name together; never 0.
func key(of ...string) uint32 {
	h := fnv.New32a()
	for _, s := range of {
		_, _ = h.Write(append([]byte(s), 0)) // a hash takes everything
	}
	return max(h.Sum32(), 1)
}
