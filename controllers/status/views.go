// SPDX-License-Identifier: Apache-2.0

package status

import (
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// report is a LoadBalancingHost and what its status is worth.
type report struct {
	host *v1alpha1.LoadBalancingHost
	// reported is true when the host ever reported, valid while the lease of its last report runs, and fresh while
	// moreover nobody knows better: the manager overwrites the state of a host that its peers dropped.
	reported, valid, fresh bool
}

// overwritten reports whether the manager overwrote a report before its time: agents never say Unknown.
func (r *report) overwritten() bool {
	return r.reported && r.valid && r.host.Status.State == v1alpha1.HostUnknown
}

func (r *report) id() int32 { return r.host.Spec.HostID }

func (r *report) node() string { return r.host.Spec.NodeName }

func (r *report) leaving() bool { return !r.host.DeletionTimestamp.IsZero() }

// desired reports whether the host is meant to be a member.
func (r *report) desired() bool {
	return !r.leaving() && r.host.Spec.EffectiveDesiredState() == v1alpha1.DesiredStateStarted
}

// participates reports whether the host takes part in the cluster by its own fresh word. One that has just started and
// lists itself alone, as every host does (Microsoft KB Q228942), does not yet: it has not converged with anybody,
// itself included.
func (r *report) participates() bool {
	if !r.fresh || !slices.Contains(r.host.Status.Members, r.id()) {
		return false
	}
	switch r.host.Status.State {
	case v1alpha1.HostConverging:
		return r.host.Status.Epoch != nil && *r.host.Status.Epoch != 0 || len(r.host.Status.Members) > 1
	case v1alpha1.HostConverged, v1alpha1.HostDraining:
		return true
	default:
		return false
	}
}

// view is a set of members and the hosts that report it.
type view struct {
	// members are host IDs, sorted.
	members []int32
	// reporters report this view, sorted by host ID.
	reporters []*report
	// agreed is true when no member that takes part reports another view.
	agreed bool
	// epoch is the highest one that one of them reports.
	epoch int64
}

func (v *view) contains(id int32) bool { return v != nil && slices.Contains(v.members, id) }

// converged reports whether all who report it say that they are.
func (v *view) converged() bool {
	for _, h := range v.reporters {
		if h.host.Status.State == v1alpha1.HostConverging {
			return false
		}
	}
	return true
}

func (v *view) disjoint(other *view) bool {
	return !slices.ContainsFunc(v.members, other.contains)
}

// viewsOf groups the hosts that take part by the view they report, the one that counts first: views on which all their
// members agree come before others, then those of more hosts, then the newer ones. A host that crashed a moment ago
// still reports a view, but its peers in it report another by now, so that view is not agreed.
func viewsOf(reports []report) []*view {
	var views []*view
	for i := range reports {
		r := &reports[i]
		if !r.participates() {
			continue
		}
		members := slices.Compact(slices.Sorted(slices.Values(r.host.Status.Members)))
		at := slices.IndexFunc(views, func(v *view) bool { return slices.Equal(v.members, members) })
		if at < 0 {
			at = len(views)
			views = append(views, &view{members: members})
		}
		v := views[at]
		v.reporters = append(v.reporters, r)
		if e := r.host.Status.Epoch; e != nil {
			v.epoch = max(v.epoch, *e)
		}
	}
	for _, v := range views {
		v.agreed = !slices.ContainsFunc(views, func(o *view) bool {
			return o != v && slices.ContainsFunc(o.reporters, func(r *report) bool { return v.contains(r.id()) })
		})
	}
	slices.SortStableFunc(views, moreCredible)
	return views
}

func moreCredible(a, b *view) int {
	switch {
	case a.agreed != b.agreed:
		return boolOrder(a.agreed)
	case len(a.reporters) != len(b.reporters):
		return len(b.reporters) - len(a.reporters)
	case a.epoch != b.epoch:
		if a.epoch > b.epoch {
			return -1
		}
		return 1
	}
	return int(a.members[0] - b.members[0])
}

func boolOrder(first bool) int {
	if first {
		return -1
	}
	return 1
}

// partitions returns the agreed, converged views that are disjoint from the first one, and the first one before them;
// nil when there is none.
func partitions(views []*view) []*view {
	if len(views) == 0 || !views[0].agreed || !views[0].converged() {
		return nil
	}
	parts := views[:1:1]
	for _, v := range views[1:] {
		if v.agreed && v.converged() && v.disjoint(views[0]) {
			parts = append(parts, v)
		}
	}
	if len(parts) == 1 {
		return nil
	}
	return parts
}
