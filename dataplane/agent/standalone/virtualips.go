// SPDX-License-Identifier: Apache-2.0

package standalone

import "slices"

// holders says which cluster holds each virtual IP. As the manager does in Kubernetes, it gives an address to the
// cluster that asks first, and keeps it there until the cluster does not list it any more and this node does not serve
// it any more.
type holders map[string]string

// claim is what a cluster asks for.
type claim struct {
	cluster string
	vips    []string
}

// conflict is an address that a cluster does not get.
type conflict struct{ vip, holder string }

// assign takes the claims of all clusters in force, in order of precedence, and returns what each holds and what it
// does not get. inUse returns the virtual IPs that the node serves for a cluster at this moment, in force or not.
func (h holders) assign(
	claims []claim, inUse func(cluster string) []string,
) (held map[string][]string, conflicts map[string][]conflict) {
	for vip, holder := range h {
		asks := slices.ContainsFunc(claims, func(c claim) bool { return c.cluster == holder && slices.Contains(c.vips, vip) })
		if !asks && !slices.Contains(inUse(holder), vip) {
			delete(h, vip)
		}
	}
	held, conflicts = map[string][]string{}, map[string][]conflict{}
	for _, c := range claims {
		held[c.cluster] = []string{} // a host without the list might be taken for one that holds all
		for _, vip := range c.vips {
			if h[vip] == "" {
				h[vip] = c.cluster
			}
			if h[vip] == c.cluster {
				held[c.cluster] = append(held[c.cluster], vip)
			} else {
				conflicts[c.cluster] = append(conflicts[c.cluster], conflict{vip: vip, holder: h[vip]})
			}
		}
	}
	return held, conflicts
}
