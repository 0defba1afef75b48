// SPDX-License-Identifier: Apache-2.0

// Package top draws a live picture of clusters: their hosts, the owners of the 60 buckets of each rule, connections,
// the rates at the stages of traffic, and stalls.
package top

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Snapshot is what is read from the API server at one moment.
type Snapshot struct {
	Clusters []v1alpha1.LoadBalancingCluster
	// Hosts are in the order of their IDs.
	Hosts []v1alpha1.LoadBalancingHost
}

// State is all that a screen shows.
type State struct {
	Snapshot
	// Rates are those of hosts by name; a missing one is not known yet. Nil shows totals instead.
	Rates map[string]Rates
	Now   time.Time
	// Problem is why the snapshot is not fresh, "" while it is.
	Problem string
	// Selected is the index of the cluster that a live screen shows.
	Selected int
	// Scroll is the number of lines below the heading that are scrolled away.
	Scroll int
}

// Render draws one cluster on a screen of a width and a height, at most that many lines. It is a pure function.
func Render(s *State, width, height int) []Line {
	lines := make([]Line, 0, height)
	if len(s.Clusters) == 0 {
		lines = append(lines, headingOfNothing(s), nil, text(" There is no LoadBalancingCluster."))
	} else {
		head, body := s.picture(min(s.Selected, len(s.Clusters)-1), width)
		lines = append(append(lines, head...), visible(body, s.Scroll, height-len(head)-1)...)
	}
	for len(lines) < height-1 {
		lines = append(lines, nil)
	}
	lines = append(lines[:max(0, min(len(lines), height-1))], s.footer(width, height))
	for i := range lines {
		lines[i] = lines[i].clip(width)
	}
	return lines
}

// MaxScroll is the greatest Scroll that still shows something new.
func MaxScroll(s *State, width, height int) int {
	if len(s.Clusters) == 0 {
		return 0
	}
	head, body := s.picture(min(s.Selected, len(s.Clusters)-1), width)
	return max(0, len(body)-max(1, height-len(head)-1))
}

// RenderAll draws all clusters one below the other, for an output that is no terminal.
func RenderAll(s *State) []Line {
	var lines []Line
	if len(s.Clusters) == 0 {
		return []Line{text("There is no LoadBalancingCluster.")}
	}
	for i := range s.Clusters {
		if i > 0 {
			lines = append(lines, nil)
		}
		head, body := s.picture(i, 0)
		lines = append(append(lines, head...), body...)
	}
	return lines
}

// visible is the part of a body that is scrolled into view.
func visible(body []Line, scroll, height int) []Line {
	scroll = max(0, min(scroll, len(body)-max(1, height)))
	body = body[scroll:]
	return body[:max(0, min(len(body), height))]
}

func (s *State) picture(index, width int) (head, body []Line) {
	c := &s.Clusters[index]
	hosts := s.hostsOf(c)
	head = s.heading(c, hosts, width)
	body = append(body, s.hostTable(c, hosts, width)...)
	body = append(body, nil)
	return head, append(body, bucketRows(c, hosts, width)...)
}

func (s *State) hostsOf(c *v1alpha1.LoadBalancingCluster) []*v1alpha1.LoadBalancingHost {
	var hosts []*v1alpha1.LoadBalancingHost
	for i := range s.Hosts {
		if s.Hosts[i].Spec.ClusterName == c.Name {
			hosts = append(hosts, &s.Hosts[i])
		}
	}
	return hosts
}

func headingOfNothing(s *State) Line {
	return Line{styled(Bold, " kubectl wlbs top"), {Text: "  " + s.Now.Format(time.TimeOnly)}}
}

// heading says what there is to know of a cluster as a whole, in two lines, and in a third what is wrong with it.
func (s *State) heading(c *v1alpha1.LoadBalancingCluster, hosts []*v1alpha1.LoadBalancingHost, width int) []Line {
	name := Line{styled(Bold, " %s", c.Name),
		{Text: "  " + strings.Join(c.Spec.VirtualIPs, " ") + "  " + string(c.Spec.EffectiveMode())}}
	clock := s.Now.Format(time.TimeOnly)
	if gap := width - name.width() - len(clock) - 1; width > 0 && gap > 0 {
		name = append(name, Span{Text: strings.Repeat(" ", gap) + clock})
	}
	lines := []Line{name, s.convergence(c, hosts)}
	if ready := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); ready != nil &&
		ready.Status != metav1.ConditionTrue {
		for _, words := range wrap(ready.Reason+": "+ready.Message, width-1, maxRemarkLines) {
			lines = append(lines, Line{styled(Bad, " %s", words)})
		}
	}
	return append(lines, nil)
}

func (s *State) convergence(c *v1alpha1.LoadBalancingCluster, hosts []*v1alpha1.LoadBalancingHost) Line {
	converged := 0
	for _, h := range hosts {
		if h.Status.State == v1alpha1.HostConverged {
			converged++
		}
	}
	line := Line{{Text: " "}}
	switch is := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionConverged); {
	case is == nil:
		line = append(line, styled(Dim, "NOT REPORTED"))
	case is.Status == metav1.ConditionTrue:
		line = append(line, styled(Good, "CONVERGED"))
	case is.Status == metav1.ConditionFalse:
		line = append(line, styled(Warn, "%s", strings.ToUpper(is.Reason)))
	default:
		line = append(line, styled(Bad, "UNKNOWN"))
	}
	line = append(line, Span{Text: fmt.Sprintf("  %d/%d hosts", converged, len(hosts))})
	if c.Status.DefaultHost != "" {
		line = append(line, Span{Text: "  default " + c.Status.DefaultHost})
	}
	if c.Status.Epoch != nil {
		line = append(line, Span{Text: fmt.Sprintf("  epoch %d", *c.Status.Epoch)})
	}
	if last := c.Status.LastConvergence; last != nil && last.StartedAt != nil {
		took := "running"
		if last.DurationMilliseconds != nil {
			took = fmt.Sprintf("took %d ms", *last.DurationMilliseconds)
		}
		line = append(line, Span{Text: fmt.Sprintf("  %s %s ago, %s", last.Cause, ageWords(s.Now.Sub(last.StartedAt.Time)),
			took)})
	}
	return line
}

func (s *State) footer(width, height int) Line {
	if s.Problem != "" {
		return Line{styled(Bad, " %s", s.Problem)}
	}
	line := Line{styled(Dim, " q quit")}
	if n := len(s.Clusters); n > 1 {
		line = append(line, styled(Dim, "   tab next cluster (%d of %d)", min(s.Selected, n-1)+1, n))
	}
	if last := MaxScroll(s, width, height); last > 0 {
		line = append(line, styled(Dim, "   up/down scroll (%d lines more)", max(0, last-s.Scroll)))
	}
	return line
}

// ageWords is a duration in at most five characters.
func ageWords(d time.Duration) string {
	switch d = max(0, d); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
