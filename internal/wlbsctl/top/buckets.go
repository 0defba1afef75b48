// SPDX-License-Identifier: Apache-2.0

package top

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
)

// labelWidth leaves room for the buckets in 80 columns.
const labelWidth = 80 - bucket.Count - 2

// owners has the ID of the host that owns each bucket, 0 for none and several for more than one.
type owners [bucket.Count]int32

const several int32 = -1

// bucketRows shows the owner of each bucket, one line a rule and the default rule last. On a screen of less than 80
// columns each rule's name has a line of its own.
func bucketRows(c *v1alpha1.LoadBalancingCluster, hosts []*v1alpha1.LoadBalancingHost, width int) []Line {
	narrow := width > 0 && width < labelWidth+bucket.Count+1
	var lines []Line
	row := func(label string, style Style, cells ...Span) {
		if narrow {
			lines = append(lines, Line{{" " + label, style}}, append(Line{{Text: " "}}, cells...))
			return
		}
		lines = append(lines, append(Line{{fmt.Sprintf(" %-*s ", labelWidth-1, label), style}}, cells...))
	}
	var ruler strings.Builder
	for b := 0; b < bucket.Count; b += 10 {
		fmt.Fprintf(&ruler, "%-10d", b)
	}
	row("RULE", Dim, Span{strings.TrimRight(ruler.String(), " "), Dim})
	rules := c.Spec.EffectivePortRules()
	for i := range rules {
		if rules[i].FilteringMode == v1alpha1.FilteringModeDisabled {
			row(ruleLabel(&rules[i]), Plain, styled(Dim, "dropped by every host (filteringMode Disabled)"))
			continue
		}
		row(ruleLabel(&rules[i]), Plain, ownersOf(rules[i].Name, hosts).cells()...)
	}
	row("other ports", Plain, ownersOf(v1alpha1.DefaultRuleName, hosts).cells()...)
	return lines
}

// ruleLabel is the name of a rule and, as far as there is room, what it covers.
func ruleLabel(r *v1alpha1.PortRule) string {
	ports := strconv.Itoa(int(r.Ports.From))
	if r.Ports.To != r.Ports.From {
		ports += "-" + strconv.Itoa(int(r.Ports.To))
	}
	protocol := string(r.Protocol)
	if r.Protocol == v1alpha1.ProtocolBoth {
		protocol = ""
	}
	for _, label := range []string{strings.TrimSpace(r.Name + " " + ports + " " + protocol), r.Name + " " + ports} {
		if len(label) < labelWidth {
			return label
		}
	}
	return shorten(r.Name, labelWidth-1)
}

// ownersOf puts the reports of hosts together. While hosts converge their reports may speak of different epochs: the
// later one counts, and only two owners in the same epoch are a contradiction.
func ownersOf(rule string, hosts []*v1alpha1.LoadBalancingHost) *owners {
	var o owners
	var epochs [bucket.Count]int64
	for _, h := range hosts {
		if !participates(h) {
			continue
		}
		epoch := valueOf(h.Status.Epoch)
		owned := mapOf(rule, h)
		for b := range o {
			switch {
			case !owned.Has(b) || o[b] != 0 && epoch < epochs[b]:
			case o[b] != 0 && epoch == epochs[b]:
				o[b] = several
			default:
				o[b], epochs[b] = h.Spec.HostID, epoch
			}
		}
	}
	return &o
}

func mapOf(rule string, h *v1alpha1.LoadBalancingHost) bucket.Map {
	for _, b := range h.Status.Buckets {
		if b.Rule != rule {
			continue
		}
		if m, err := strconv.ParseUint(strings.TrimPrefix(b.Map, "0x"), 16, 64); err == nil {
			return bucket.Map(m)
		}
	}
	return 0
}

// cells is one character a bucket, runs of one owner in one span.
func (o *owners) cells() Line {
	var line Line
	for b := 0; b < len(o); {
		end := b
		for end < len(o) && o[end] == o[b] {
			end++
		}
		line = append(line, cell(o[b], end-b))
		b = end
	}
	return line
}

func cell(owner int32, n int) Span {
	switch owner {
	case 0:
		return Span{strings.Repeat(".", n), Dim}
	case several:
		return Span{strings.Repeat("!", n), Bad}
	}
	// One digit a host: 1 to 9, then a for 10 up to w for 32.
	return Span{strings.Repeat(strconv.FormatInt(int64(owner), 36), n), Owner(owner)}
}
