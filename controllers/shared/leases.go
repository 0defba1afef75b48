// SPDX-License-Identifier: Apache-2.0

package shared

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// defaultLease holds for a report that does not say how long it holds.
const defaultLease = 90 * time.Second

// Leases knows how long each host's report holds. A report that is seen to change is dated by the manager's own clock,
// so that a node whose clock is wrong is not taken for silent, nor a silent one for alive; only a report that was there
// before the manager is dated by its node's clock.
type Leases struct {
	mu sync.Mutex
	// seen has the renewals by cluster and host.
	seen map[string]map[types.UID]renewal
}

type renewal struct {
	renewTime metav1.MicroTime
	at        time.Time
	// droppedAt is when the host's peers were first seen to have dropped it, zero while they have it.
	droppedAt time.Time
}

// dropGrace is how long a host may take to answer, by a report, that its peers dropped it: reports of one change come
// one by one.
const dropGrace = 2 * time.Second

// UntilOverruled notes whether a host's peers have dropped it, and returns how long to wait until that counts
// against the host's own last report; ok is false when it is not, for the host has reported since.
func (l *Leases) UntilOverruled(
	host *v1alpha1.LoadBalancingHost, dropped bool, now time.Time,
) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.of(host.Spec.ClusterName)
	last, known := seen[host.UID]
	switch {
	case !known:
		return 0, false
	case !dropped:
		last.droppedAt = time.Time{}
	case last.droppedAt.IsZero():
		last.droppedAt = now
	}
	seen[host.UID] = last
	if !dropped || last.at.After(last.droppedAt) {
		return 0, false
	}
	return last.droppedAt.Add(dropGrace).Sub(now), true
}

// Left returns for how long the host's last report is still valid, 0 or less when it is not. ok is false when the host
// never reported.
func (l *Leases) Left(host *v1alpha1.LoadBalancingHost, now time.Time) (left time.Duration, ok bool) {
	renewTime := host.Status.RenewTime
	if renewTime == nil {
		return 0, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.of(host.Spec.ClusterName)
	last, known := seen[host.UID]
	if !known || !last.renewTime.Equal(renewTime) {
		at := now
		if !known && renewTime.Before(&metav1.MicroTime{Time: now}) {
			at = renewTime.Time
		}
		last.renewTime, last.at = *renewTime, at
		seen[host.UID] = last
	}
	lease := defaultLease
	if s := host.Status.LeaseSeconds; s != nil {
		lease = time.Duration(*s) * time.Second
	}
	return lease - now.Sub(last.at), true
}

func (l *Leases) of(cluster string) map[types.UID]renewal {
	if l.seen == nil {
		l.seen = map[string]map[types.UID]renewal{}
	}
	if l.seen[cluster] == nil {
		l.seen[cluster] = map[types.UID]renewal{}
	}
	return l.seen[cluster]
}

// Retain drops what is known of a cluster's hosts other than these.
func (l *Leases) Retain(cluster string, hosts []v1alpha1.LoadBalancingHost) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(hosts) == 0 {
		delete(l.seen, cluster)
		return
	}
	kept := map[types.UID]renewal{}
	for i := range hosts {
		if last, ok := l.seen[cluster][hosts[i].UID]; ok {
			kept[hosts[i].UID] = last
		}
	}
	if l.seen != nil {
		l.seen[cluster] = kept
	}
}
