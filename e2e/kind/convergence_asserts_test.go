// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// awaitMembers waits until the cluster says that it is converged with exactly these nodes as members, of so many desired
// ones, and the members agree with it. It tells how long that took.
func (c *vipCluster) awaitMembers(t *testing.T, limit time.Duration, desired int, members ...string) time.Duration {
	t.Helper()
	took := within(t, limit, fmt.Sprintf("cluster %s converged with %v", c.name, members), func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		if err := hasCondition(object.Status.Conditions, v1alpha1.ConditionConverged, metav1.ConditionTrue, v1alpha1.ReasonConverged); err != nil {
			return err
		}
		if want := fmt.Sprintf("%d/%d", len(members), desired); object.Status.Columns.Hosts != want {
			return fmt.Errorf("hosts are %s, want %s", object.Status.Columns.Hosts, want)
		}
		hosts, err := c.hosts(ctx)
		if err != nil {
			return err
		}
		return agree(hosts, members, &object.Spec)
	})
	t.Logf("cluster %s converged with %d of %d hosts after %s", c.name, len(members), desired, took.Round(time.Millisecond))
	return took
}

// awaitConverged waits until all workers are members.
func (c *vipCluster) awaitConverged(t *testing.T) time.Duration {
	t.Helper()
	return c.awaitMembers(t, convergeLimit, len(c.workers), c.workers...)
}

// agree checks that the hosts on these nodes say the same of the view, the epoch and the config in force, and share out
// every bucket of every rule among them, but those of rules whose traffic all drop.
func agree(hosts []v1alpha1.LoadBalancingHost, members []string, spec *v1alpha1.LoadBalancingClusterSpec) error {
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(h v1alpha1.LoadBalancingHost) bool {
		return !slices.Contains(members, h.Spec.NodeName)
	})
	if len(hosts) != len(members) {
		return fmt.Errorf("there are %d hosts for the members %v", len(hosts), members)
	}
	var ids []int32
	for _, h := range hosts {
		ids = append(ids, h.Spec.HostID)
	}
	for _, h := range hosts {
		s := &h.Status
		switch first := &hosts[0].Status; {
		case s.State != v1alpha1.HostConverged:
			return fmt.Errorf("host %s is %s", h.Name, s.State)
		case !slices.Equal(s.Members, ids):
			return fmt.Errorf("host %s has the members %v, want %v", h.Name, s.Members, ids)
		case value(s.Epoch) != value(first.Epoch) || value(s.Epoch) == 0:
			return fmt.Errorf("hosts %s and %s have the epochs %d and %d", h.Name, hosts[0].Name, value(s.Epoch), value(first.Epoch))
		case value(s.ClusterGeneration) != value(first.ClusterGeneration):
			return fmt.Errorf("hosts %s and %s have the generations %d and %d in force", h.Name, hosts[0].Name, value(s.ClusterGeneration), value(first.ClusterGeneration))
		}
	}
	return shareAllBuckets(hosts, spec)
}

// shareAllBuckets checks that every bucket of every rule has exactly one owner, and those of Disabled rules none.
func shareAllBuckets(hosts []v1alpha1.LoadBalancingHost, spec *v1alpha1.LoadBalancingClusterSpec) error {
	owned := map[string]bucket.Map{}
	for _, h := range hosts {
		for _, b := range h.Status.Buckets {
			bits, err := strconv.ParseUint(b.Map, 16, 64)
			if err != nil {
				return fmt.Errorf("host %s, rule %s: %w", h.Name, b.Rule, err)
			}
			if twice := owned[b.Rule] & bucket.Map(bits); twice != 0 {
				return fmt.Errorf("rule %s: the buckets %s have two owners, one is %s", b.Rule, twice, h.Name)
			}
			owned[b.Rule] |= bucket.Map(bits)
		}
	}
	if len(owned) == 0 {
		return fmt.Errorf("no host reports buckets")
	}
	for rule, buckets := range owned {
		want := bucket.All
		if isDisabled(spec, rule) {
			want = 0
		}
		if buckets != want {
			return fmt.Errorf("rule %s: the buckets %s have owners, want %s", rule, buckets, want)
		}
	}
	return nil
}

func isDisabled(spec *v1alpha1.LoadBalancingClusterSpec, rule string) bool {
	return slices.ContainsFunc(spec.PortRules, func(r v1alpha1.PortRule) bool {
		return r.Name == rule && r.FilteringMode == v1alpha1.FilteringModeDisabled
	})
}

// bucketsOf is the number of buckets of a rule that a host serves.
func bucketsOf(h *v1alpha1.LoadBalancingHost, rule string) int32 {
	for _, b := range h.Status.Buckets {
		if b.Rule == rule {
			return value(b.Count)
		}
	}
	return 0
}

// awaitCondition waits until the cluster has a condition, and tells how long that took.
func (c *vipCluster) awaitCondition(t *testing.T, limit time.Duration, kind string, status metav1.ConditionStatus, reason string) time.Duration {
	t.Helper()
	return within(t, limit, fmt.Sprintf("condition %s=%s of cluster %s", kind, status, c.name), func(ctx context.Context) error {
		object, err := c.get(ctx)
		if err != nil {
			return err
		}
		return hasCondition(object.Status.Conditions, kind, status, reason)
	})
}

// hasCondition checks status and reason of a condition; an empty reason stands for any.
func hasCondition(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string) error {
	is := meta.FindStatusCondition(conditions, kind)
	switch {
	case is == nil:
		return fmt.Errorf("there is no condition %s", kind)
	case is.Status != status, reason != "" && is.Reason != reason:
		return fmt.Errorf("%s is %s for %s (%s), want %s for %s", kind, is.Status, is.Reason, is.Message, status, reason)
	}
	return nil
}

// value is what a pointer points to, zero for none.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
