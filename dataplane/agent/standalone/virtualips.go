// SPDX-License-Identifier: Apache-2.0

package standalone

import "slices"

// assignments say to which cluster each virtual IP is assigned. As the manager does in Kubernetes, they give an address
// to the cluster that asks first, and keep it there until the cluster does not list it any more and this node does not
// serve it any more.
type assignments map[string]string

// claim is what a cluster asks for.
type claim struct {
	cluster string
	vips    []string
}

// conflict is an address that a cluster does not get.
type conflict struct{ vip, assignedTo string }

// assign takes the claims of all clusters in force, in order of precedence, and returns what each gets and what it
// does not get. inUse returns the virtual IPs that the node serves for a cluster at this moment, in force or not.
func (a assignments) assign(
	claims []claim, inUse func(cluster string) []string,
) (assigned map[string][]string, conflicts map[string][]conflict) {
	for vip, cluster := range a {
		asks := slices.ContainsFunc(claims,
			func(c claim) bool { return c.cluster == cluster && slices.Contains(c.vips, vip) })
		if !asks && !slices.Contains(inUse(cluster), vip) {
			delete(a, vip)
		}
	}
	assigned, conflicts = map[string][]string{}, map[string][]conflict{}
	for _, c := range claims {
		assigned[c.cluster] = []string{} // a host without the list might be taken for one that serves all
		for _, vip := range c.vips {
			if a[vip] == "" {
				a[vip] = c.cluster
			}
			if a[vip] == c.cluster {
				assigned[c.cluster] = append(assigned[c.cluster], vip)
			} else {
				conflicts[c.cluster] = append(conflicts[c.cluster], conflict{vip: vip, assignedTo: a[vip]})
			}
		}
	}
	return assigned, conflicts
}
