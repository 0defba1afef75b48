// SPDX-License-Identifier: Apache-2.0

package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
)

// setter adds conditions of one generation to those of the last report.
type setter struct {
	conditions []metav1.Condition
	generation int64
	now        time.Time
}

func (s *setter) set(kind string, holds bool, reason, message string) {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&s.conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: s.generation,
		LastTransitionTime: metav1.NewTime(s.now),
	})
}

// conditions returns the host's conditions; s is the rest of its status.
func conditions(f *Facts, s *v1alpha1.LoadBalancingHostStatus) []metav1.Condition {
	c := &setter{conditions: slices.Clone(f.Before), generation: f.HostGeneration, now: f.Now}
	c.dataplane(f)

	converged := f.View.State == convergence.StateConverged
	members := fmt.Sprintf("host %s, members %s, epoch %d", strings.ToLower(s.Columns.State), s.Columns.Members,
		f.View.Epoch)
	if f.View.State == convergence.StateDraining {
		members += ", " + connectionsLeft(f.Traffic.Connections)
	}
	if converged {
		c.set(v1alpha1.ConditionConverged, true, v1alpha1.ReasonConverged, members)
	} else {
		c.set(v1alpha1.ConditionConverged, false, string(s.State), members)
	}

	if f.TableFull != "" {
		c.set(v1alpha1.ConditionConnectionTableFull, true, v1alpha1.ReasonConnectionTableFull, f.TableFull)
	} else {
		c.set(v1alpha1.ConditionConnectionTableFull, false, v1alpha1.ReasonConnectionsTracked, "")
	}

	consistent, reason, message := consistency(f)
	c.set(v1alpha1.ConditionConfigConsistent, consistent, reason, message)

	if s.Stall != nil {
		c.set(v1alpha1.ConditionTrafficStalled, true, string(s.Stall.Reason), stallMessage(s.Stall))
	} else {
		c.set(v1alpha1.ConditionTrafficStalled, false, v1alpha1.ReasonTrafficFlows, "")
	}

	switch {
	case !converged:
		c.set(v1alpha1.ConditionReady, false, v1alpha1.ReasonNotConverged, members)
	case s.Stall != nil:
		c.set(v1alpha1.ConditionReady, false, v1alpha1.ReasonTrafficStalled, stallMessage(s.Stall))
	case !consistent:
		c.set(v1alpha1.ConditionReady, false, v1alpha1.ReasonConfigInconsistent, message)
	default:
		c.set(v1alpha1.ConditionReady, true, v1alpha1.ReasonServing, members)
	}
	return c.conditions
}

func (s *setter) dataplane(f *Facts) {
	switch {
	case f.Ended != "":
		s.set(v1alpha1.ConditionDataplaneReady, false, v1alpha1.ReasonAgentEnded, f.Ended)
	case f.SendError != nil:
		s.set(v1alpha1.ConditionDataplaneReady, false, ReasonOf(f.SendError), f.SendError.Error())
	default:
		s.set(v1alpha1.ConditionDataplaneReady, true, v1alpha1.ReasonDataplaneReady, whereFilterStands(&f.Dataplane))
	}
}

// whereFilterStands says so where it is not where the cluster wants it: the interface's other clusters share it.
func whereFilterStands(d *Dataplane) string {
	message := fmt.Sprintf("filter at %s of %s", d.Hook, d.Interface)
	if d.WishedHook != "" && d.WishedHook != v1alpha1.HookAuto && d.WishedHook != d.Hook {
		message += fmt.Sprintf(", not at %s: the clusters on an interface share one hook, which the oldest that names one chooses "+
			"if it is possible there", d.WishedHook)
	}
	return message
}

func consistency(f *Facts) (consistent bool, reason, message string) {
	if f.ConfigError != nil {
		return false, v1alpha1.ReasonConflict, "config refused, the last one stays in force: " + f.ConfigError.Error()
	}
	if len(f.Refused) > 0 {
		return false, v1alpha1.ReasonVirtualIPIsNodeAddress, refusal(f.Refused)
	}
	if len(f.View.Conflicts) == 0 {
		return true, v1alpha1.ReasonConsistent, ""
	}
	messages := make([]string, len(f.View.Conflicts))
	for i, c := range f.View.Conflicts {
		messages[i] = c.Message
	}
	switch f.View.Conflicts[0].Reason {
	case convergence.CauseDuplicateHostID:
		reason = v1alpha1.ReasonDuplicateHostID
	case convergence.CauseNumberOfRules, convergence.CauseModifiedRules:
		reason = v1alpha1.ReasonRulesDiffer
	case convergence.CauseBadConfig:
		reason = v1alpha1.ReasonDuplicateHandlingPriority
	default:
		reason = v1alpha1.ReasonConflict
	}
	return false, reason, strings.Join(messages, "; ")
}

// refusal names the virtual IPs that the host does not serve, and where the node has them.
func refusal(refused []Refused) string {
	parts := make([]string, len(refused))
	for i, r := range refused {
		parts[i] = fmt.Sprintf("virtual IP %s is this node's own address on %s and is not served here", r.VirtualIP,
			r.Interface)
	}
	return strings.Join(parts, "; ")
}

// stallMessage has no numbers that change while a stall lasts.
func stallMessage(s *v1alpha1.HostStall) string {
	if s.Queue != "" {
		return fmt.Sprintf("%s on %s", s.Reason, s.Queue)
	}
	return string(s.Reason)
}

// connectionsLeft says how many connections a drain still waits for, those included that closed less than ten seconds
// ago. Large numbers have two digits and zeros, for each other text is a write to the API server.
func connectionsLeft(n int) string {
	exact, unit := n, 1
	for n >= 100 {
		n /= 10
		unit *= 10
	}
	if unit == 1 {
		return fmt.Sprintf("%d connection(s) left", exact)
	}
	return fmt.Sprintf("at least %d connections left", n*unit)
}
