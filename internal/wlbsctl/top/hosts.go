// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	// tableRest is the width of all columns of the table of hosts but the one of nodes.
	tableRest = 59
	// minNodeWidth and maxNodeWidth bound the column of nodes.
	minNodeWidth, maxNodeWidth = 8, 40
	// indent sets remarks apart from the hosts they are about.
	indent = "     "
	// maxRemarkLines bounds a remark, so that one host's long message does not push the others off the screen.
	maxRemarkLines = 3
)

// hostTable is one line a host, and lines below it for what is wrong or set apart there.
func (s *State) hostTable(c *v1alpha1.LoadBalancingCluster, hosts []*v1alpha1.LoadBalancingHost, width int) []Line {
	node := len("NODE")
	for _, h := range hosts {
		node = max(node, len(h.Spec.NodeName))
	}
	node = min(node, maxNodeWidth)
	if width > 0 {
		node = max(minNodeWidth, min(node, width-tableRest))
	}
	unit := "/s"
	if s.Rates == nil {
		unit = ""
	}
	lines := []Line{{styled(Dim, "  ID %-*s STATE        CONN %7s %7s %7s %7s  AGE", node, "NODE",
		"ADMIT"+unit, "DELIV"+unit, "ANSWR"+unit, "XMIT"+unit)}}
	var sum Rates
	var connections int64
	common := commonView(hosts)
	for _, h := range hosts {
		lines = append(lines, s.hostLine(h, node))
		for _, remark := range s.remarks(c, h, common) {
			for _, words := range wrap(remark.Text, width-len(indent), maxRemarkLines) {
				lines = append(lines, Line{{Text: indent}, {words, remark.Style}})
			}
		}
		sum = sum.plus(s.Rates[h.Name])
		connections += valueOf(h.Status.Traffic.Connections)
	}
	if len(s.Rates) > 0 && len(hosts) > 1 {
		lines = append(lines,
			Line{styled(Dim, "     %-*s %-10s %6s %7s %7s %7s %7s", node, "all", "", count(float64(connections)),
				count(sum.Admitted), count(sum.Delivered), count(sum.Answered), count(sum.Transmitted))})
	}
	return lines
}

func (s *State) hostLine(h *v1alpha1.LoadBalancingHost, node int) Line {
	mark := " "
	if isDefault(h) {
		mark = "*"
	}
	state, style := s.stateOf(h)
	connections := "-"
	if h.Status.Traffic.Connections != nil {
		connections = count(float64(*h.Status.Traffic.Connections))
	}
	stages := s.stages(h)
	line := Line{
		{Text: " "}, {Text: fmt.Sprintf("%2d", h.Spec.HostID), Style: Owner(h.Spec.HostID)},
		{Text: fmt.Sprintf("%s %-*s ", mark, node, shorten(h.Spec.NodeName, node))},
		styled(style, "%-10s", state),
		{Text: fmt.Sprintf(" %6s %7s %7s %7s %7s", connections, stages[0], stages[1], stages[2], stages[3])},
	}
	age, old := "-", false
	if h.Status.RenewTime != nil {
		passed := s.Now.Sub(h.Status.RenewTime.Time)
		age, old = ageWords(passed), s.outdated(h)
	}
	ageStyle := Plain
	if old {
		ageStyle = Bad
	}
	return append(line, styled(ageStyle, " %4s", age))
}

func isDefault(h *v1alpha1.LoadBalancingHost) bool {
	return h.Status.DefaultHostID != nil && *h.Status.DefaultHostID == h.Spec.HostID &&
		h.Status.State == v1alpha1.HostConverged
}

func (s *State) outdated(h *v1alpha1.LoadBalancingHost) bool {
	return h.Status.RenewTime != nil && h.Status.LeaseSeconds != nil &&
		s.Now.Sub(h.Status.RenewTime.Time) > time.Duration(*h.Status.LeaseSeconds)*time.Second
}

// stateOf is a host's state in one word: a stall hides that the host is converged, for that is what matters.
func (s *State) stateOf(h *v1alpha1.LoadBalancingHost) (string, Style) {
	switch state := h.Status.State; {
	case h.Status.Stall != nil:
		return "STALLED", Bad
	case state == "":
		return "-", Dim
	case state == v1alpha1.HostConverged:
		return "Converged", Good
	case state == v1alpha1.HostConverging, state == v1alpha1.HostDraining:
		return string(state), Warn
	case state == v1alpha1.HostExcluded, state == v1alpha1.HostDisconnected, state == v1alpha1.HostUnknown:
		return string(state), Bad
	default:
		return string(state), Dim
	}
}

func (s *State) stages(h *v1alpha1.LoadBalancingHost) (out [4]string) {
	if s.Rates != nil {
		r, known := s.Rates[h.Name]
		if !known {
			return [4]string{"-", "-", "-", "-"}
		}
		return [4]string{count(r.Admitted), count(r.Delivered), count(r.Answered), count(r.Transmitted)}
	}
	t := &h.Status.Traffic
	for i, p := range []*int64{t.Admitted, t.Delivered, t.Answered, t.Transmitted} {
		out[i] = "-"
		if p != nil {
			out[i] = count(float64(*p))
		}
	}
	return out
}

// remarks are what sets a host apart: its stall, a view of its own, what peers say, and rules that are off there.
func (s *State) remarks(c *v1alpha1.LoadBalancingCluster, h *v1alpha1.LoadBalancingHost, common string) []Span {
	var out []Span
	if stall := h.Status.Stall; stall != nil {
		words := string(stall.Reason)
		if stall.Queue != "" {
			words += ", " + stall.Queue
		}
		out = append(out, styled(Bad, "%s: %s", words, stall.Message))
	}
	if view := viewOf(h); view != "" && view != common {
		out = append(out, styled(Warn, "sees hosts %s, most see %s", view, common))
	}
	if h.Status.Stall == nil {
		for i := range c.Status.Hosts {
			if said := &c.Status.Hosts[i]; said.NodeName == h.Spec.NodeName && said.Message != "" {
				out = append(out, styled(Warn, "%s", said.Message))
			}
		}
	}
	if desired := h.Spec.EffectiveDesiredState(); desired == v1alpha1.DesiredStateDrained &&
		h.Status.State == v1alpha1.HostStopped {
		out = append(out, styled(Dim, "drained"))
	}
	var off []string
	for _, r := range h.Spec.Rules {
		if state := r.EffectiveState(); state != v1alpha1.RuleStateEnabled {
			off = append(off, fmt.Sprintf("%s %s", r.Name, strings.ToLower(string(state))))
		}
	}
	if len(off) > 0 {
		out = append(out, styled(Warn, "rules: %s", strings.Join(off, ", ")))
	}
	return out
}

// participates reports whether a host takes part in its cluster, so that its view and buckets mean something.
func participates(h *v1alpha1.LoadBalancingHost) bool {
	switch h.Status.State {
	case v1alpha1.HostConverged, v1alpha1.HostConverging, v1alpha1.HostDraining:
		return true
	default:
		return false
	}
}

func viewOf(h *v1alpha1.LoadBalancingHost) string {
	if !participates(h) {
		return ""
	}
	words := make([]string, len(h.Status.Members))
	for i, id := range h.Status.Members {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ",")
}

// commonView is the view that most hosts have; of several the first in order.
func commonView(hosts []*v1alpha1.LoadBalancingHost) string {
	votes := map[string]int{}
	var views []string
	for _, h := range hosts {
		if v := viewOf(h); v != "" {
			votes[v]++
			views = append(views, v)
		}
	}
	slices.Sort(views)
	common := ""
	for _, v := range views {
		if votes[v] > votes[common] {
			common = v
		}
	}
	return common
}

// count is a number in at most six characters.
func count(n float64) string {
	const suffixes = "kMGTPE"
	if n < 999.5 {
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
	at := -1
	for n >= 999.5 && at < len(suffixes)-1 {
		n /= 1000
		at++
	}
	precision := 0
	if n < 9.95 {
		precision = 1
	}
	return strconv.FormatFloat(n, 'f', precision, 64) + suffixes[at:at+1]
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
