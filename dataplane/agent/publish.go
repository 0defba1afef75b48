// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat/link"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// publish passes the status of a host on to those who read it. It must not be changed afterwards.
func (a *agent) publish(host *v1alpha1.LoadBalancingHost, status *v1alpha1.LoadBalancingHostStatus, peers []words.Peer) {
	if a.Sink != nil {
		a.Sink.Report(status)
	}
	if a.Socket != nil {
		a.Socket.Publish(a.desired.Cluster, &v1alpha1.LoadBalancingHost{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LoadBalancingHost"},
			ObjectMeta: metav1.ObjectMeta{Name: host.Name, Generation: host.Generation},
			Spec:       host.Spec,
			Status:     *status,
		}, peers)
	}
}

// reportFailure says why the node is no member. It lists itself all the same (Microsoft KB Q228942).
func (a *agent) reportFailure(err error) {
	if a.desired.Removed() {
		return
	}
	id, generation := a.desired.Host.Spec.HostID, a.desired.Host.Generation
	s := &a.status
	*s = v1alpha1.LoadBalancingHostStatus{
		Conditions:         s.Conditions,
		ObservedGeneration: &generation,
		State:              v1alpha1.HostStopped,
		Members:            []int32{id},
	}
	s.Columns = words.Columns(id, s)
	for _, kind := range []string{v1alpha1.ConditionDataplaneReady, v1alpha1.ConditionReady, v1alpha1.ConditionConverged} {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionFalse, Reason: failureReason(err), Message: err.Error(), ObservedGeneration: generation,
		})
	}
	a.publish(a.desired.Host, s.DeepCopy(), nil)
}

// failureReason is why the dataplane is not ready.
func failureReason(err error) string {
	var mtu *link.MTUError
	switch {
	case errors.Is(err, hostnet.ErrNoInterface), errors.Is(err, hostnet.ErrAmbiguous):
		return v1alpha1.ReasonInterfaceNotFound
	case errors.As(err, &mtu):
		return v1alpha1.ReasonMTUTooSmall
	default:
		return v1alpha1.ReasonDataplaneError
	}
}
