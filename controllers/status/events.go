// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// notice is an Event to be: what changed between two statuses of a cluster.
type notice struct {
	// eventType is corev1.EventTypeNormal or corev1.EventTypeWarning.
	eventType, reason, note string
	// node is the host it concerns, "" for the cluster.
	node string
}

// notices are the Events about what changed, once per change: whoever calls it with the status as written gets nothing.
func notices(before, after *v1alpha1.LoadBalancingClusterStatus) []notice {
	var out []notice
	previous := map[string]v1alpha1.ClusterHostStatus{}
	for _, h := range before.Hosts {
		previous[h.NodeName] = h
	}
	for _, h := range after.Hosts {
		was := previous[h.NodeName]
		out = append(out, membershipNotices(was, h)...)
		out = append(out, drainNotices(was, h)...)
		out = append(out, stallNotices(was, h)...)
		delete(previous, h.NodeName)
	}
	for _, h := range before.Hosts {
		if _, gone := previous[h.NodeName]; gone && h.Membership == v1alpha1.MembershipMember {
			out = append(out, notice{corev1.EventTypeNormal, "MemberLeft",
				fmt.Sprintf("host %s left: it was removed", h.NodeName), h.NodeName})
		}
	}
	if g, was := after.GenerationInForce, before.GenerationInForce; g != nil && was != nil && *g > *was {
		out = append(out, notice{corev1.EventTypeNormal, "ConfigInForce",
			fmt.Sprintf("generation %d of the spec is in force on all members, before it was %d", *g, *was), ""})
	}
	if is, was := after.DefaultHost, before.DefaultHost; is != "" && was != "" && is != was {
		out = append(out, notice{corev1.EventTypeNormal, "DefaultHostChanged",
			fmt.Sprintf("%s is the default host, before it was %s", is, was), is})
	}
	return append(out, conditionNotices(before, after)...)
}

func membershipNotices(was, is v1alpha1.ClusterHostStatus) []notice {
	joined := is.Membership == v1alpha1.MembershipMember && was.Membership != v1alpha1.MembershipMember
	left := is.Membership == v1alpha1.MembershipNotMember && was.Membership == v1alpha1.MembershipMember
	name := hostName(is)
	switch {
	case joined:
		return []notice{{corev1.EventTypeNormal, "MemberJoined", fmt.Sprintf("host %s joined", name), is.NodeName}}
	case left && (is.State == v1alpha1.HostStopped || is.State == v1alpha1.HostSuspended ||
		was.State == v1alpha1.HostDraining):
		return []notice{{corev1.EventTypeNormal, "MemberLeft", leftNote(name, was, is), is.NodeName}}
	case left:
		note := fmt.Sprintf("host %s is lost", name)
		if is.Message != "" {
			note += ": " + is.Message
		}
		return []notice{{corev1.EventTypeWarning, "MemberLost", note, is.NodeName}}
	}
	return nil
}

// drainNotices are about a drain (events 44 and 45 of WLBS). Its end is a MemberLeft.
func drainNotices(was, is v1alpha1.ClusterHostStatus) []notice {
	serves := func(s v1alpha1.HostState) bool {
		return s == v1alpha1.HostConverged || s == v1alpha1.HostConverging
	}
	switch {
	case is.State == v1alpha1.HostDraining && serves(was.State):
		note := fmt.Sprintf("host %s started connection draining", hostName(is))
		if is.Message != "" {
			note += ": " + is.Message
		}
		return []notice{{corev1.EventTypeNormal, "DrainingStarted", note, is.NodeName}}
	case was.State == v1alpha1.HostDraining && serves(is.State) && is.Membership == v1alpha1.MembershipMember:
		return []notice{{corev1.EventTypeNormal, "DrainingInterrupted",
			fmt.Sprintf("connection draining of host %s was interrupted: it serves again", hostName(is)), is.NodeName}}
	}
	return nil
}

func hostName(h v1alpha1.ClusterHostStatus) string {
	if h.HostID == nil {
		return h.NodeName
	}
	return fmt.Sprintf("%d (%s)", *h.HostID, h.NodeName)
}

func leftNote(name string, was, is v1alpha1.ClusterHostStatus) string {
	note := fmt.Sprintf("host %s left: it is %s", name, is.State)
	if is.State == v1alpha1.HostUnknown { // its peers were faster to report
		note = fmt.Sprintf("host %s left: it was %s", name, was.State)
	}
	if is.Message != "" {
		note += "; " + is.Message
	}
	return note
}

func stallNotices(was, is v1alpha1.ClusterHostStatus) []notice {
	switch {
	case is.StallReason != "" && is.StallReason != was.StallReason:
		return []notice{{corev1.EventTypeWarning, string(is.StallReason),
			"host " + is.NodeName + " carries no traffic: " + is.Message, is.NodeName}}
	case is.StallReason == "" && was.StallReason != "" && is.State != v1alpha1.HostUnknown:
		return []notice{{corev1.EventTypeNormal, "TrafficRecovered",
			fmt.Sprintf("host %s carries traffic again, it was stalled: %s", is.NodeName, was.StallReason), is.NodeName}}
	}
	return nil
}

// conditionNotices are about changes in the conditions of the whole cluster. Epochs are not compared while Converged
// stays False: what matters then is how it ends.
func conditionNotices(before, after *v1alpha1.LoadBalancingClusterStatus) []notice {
	var out []notice
	is := shared.ConditionOf(after.Conditions, v1alpha1.ConditionConverged)
	was := shared.ConditionOf(before.Conditions, v1alpha1.ConditionConverged)
	switch {
	case is == nil:
	case is.Status == metav1.ConditionTrue &&
		(was == nil || was.Status != metav1.ConditionTrue || newEpoch(before, after)):
		out = append(out, notice{corev1.EventTypeNormal, "Converged", convergedNote(after, is.Message), ""})
	case is.Status != metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionTrue:
		out = append(out, notice{corev1.EventTypeNormal, is.Reason,
			"no longer converged: " + is.Message + ongoingCause(after), ""})
	}
	for _, c := range []struct {
		conditionType string
		bad           metav1.ConditionStatus
		over          string
	}{
		{v1alpha1.ConditionPartitioned, metav1.ConditionTrue, "PartitionHealed"},
		{v1alpha1.ConditionConfigConsistent, metav1.ConditionFalse, "ConfigConsistent"},
		{v1alpha1.ConditionConnectionTableFull, metav1.ConditionTrue, v1alpha1.ReasonConnectionsTracked},
	} {
		is, was := shared.ConditionOf(after.Conditions, c.conditionType), shared.ConditionOf(before.Conditions,
			c.conditionType)
		wasBad := was != nil && was.Status == c.bad
		switch {
		case is == nil:
		case is.Status == c.bad && (!wasBad || was.Message != is.Message):
			out = append(out, notice{corev1.EventTypeWarning, is.Reason, is.Message, ""})
		case is.Status != c.bad && is.Status != metav1.ConditionUnknown && wasBad && c.over != "":
			out = append(out, notice{corev1.EventTypeNormal, c.over, is.Message, ""})
		}
	}
	return out
}

// ongoingCause is why a convergence that is under way began, as the events 66 to 69 of WLBS say it.
func ongoingCause(status *v1alpha1.LoadBalancingClusterStatus) string {
	if c := status.LastConvergence; c != nil && c.DurationMilliseconds == nil && c.Cause != "" {
		return fmt.Sprintf(", cause %s", c.Cause)
	}
	return ""
}

func newEpoch(before, after *v1alpha1.LoadBalancingClusterStatus) bool {
	return after.Epoch != nil && (before.Epoch == nil || *before.Epoch != *after.Epoch)
}

func convergedNote(status *v1alpha1.LoadBalancingClusterStatus, message string) string {
	note := message + ", default host " + status.DefaultHost
	if c := status.LastConvergence; c != nil {
		if c.Cause != "" {
			note += fmt.Sprintf(", cause %s", c.Cause)
		}
		if c.DurationMilliseconds != nil {
			note += fmt.Sprintf(", took %d ms", *c.DurationMilliseconds)
		}
	}
	return note
}
