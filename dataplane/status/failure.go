// SPDX-License-Identifier: Apache-2.0

package status

import (
	"errors"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// Failure is why a node takes no part in its cluster.
type Failure struct {
	// Now and Before are those of Facts.
	Now    time.Time
	Before []metav1.Condition
	// HostID and HostGeneration are those that the config gives the host.
	HostID         int32
	HostGeneration int64
	// Err is what failed; ReasonOf finds its reason.
	Err error
}

// ReportFailure returns the status of a host that is no member. It lists itself all the same (Microsoft KB Q228942).
func ReportFailure(f *Failure) *v1alpha1.LoadBalancingHostStatus {
	s := &v1alpha1.LoadBalancingHostStatus{
		ObservedGeneration: new(f.HostGeneration),
		State:              v1alpha1.HostStopped,
		Members:            []int32{f.HostID},
	}
	s.Columns = words.Columns(f.HostID, s)
	c := &setter{conditions: slices.Clone(f.Before), generation: f.HostGeneration, now: f.Now}
	for _, kind := range []string{v1alpha1.ConditionDataplaneReady, v1alpha1.ConditionReady, v1alpha1.ConditionConverged} {
		c.set(kind, false, ReasonOf(f.Err), f.Err.Error())
	}
	s.Conditions = c.conditions
	return s
}

// because is an error with the reason that conditions give for it.
type because struct {
	reason string
	error
}

func (b *because) Unwrap() error { return b.error }

// Because gives an error the reason of ConditionDataplaneReady that people shall see; nil stays nil.
func Because(reason string, err error) error {
	if err == nil {
		return nil
	}
	return &because{reason, err}
}

// ReasonOf returns the reason that Because gave to an error or to one that it wraps, else ReasonDataplaneError.
func ReasonOf(err error) string {
	if b, ok := errors.AsType[*because](err); ok {
		return b.reason
	}
	return v1alpha1.ReasonDataplaneError
}

// NodeAddressError says that virtual IPs are addresses of the node itself.
func NodeAddressError(refused []Refused) error {
	return Because(v1alpha1.ReasonVirtualIPIsNodeAddress, errors.New(refusal(refused)))
}
