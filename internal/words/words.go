// SPDX-License-Identifier: Apache-2.0

// Package words says what a host is in the words of "wlbs query", wherever that is printed or reported.
//
// They follow what Microsoft published (KB812870, KB242242).
package words

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func stateWords(state v1alpha1.HostCondition, isDefault bool) string {
	if state == v1alpha1.HostConverged && isDefault {
		return "Converged as DEFAULT"
	}
	return string(state)
}

func joinIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ",")
}

// bucketWords is one number where all rules have the same, else "rule:count" for each.
func bucketWords(buckets []v1alpha1.RuleBuckets) string {
	var words []string
	var counts []int32
	for _, b := range buckets {
		if b.Rule == v1alpha1.DefaultRuleName {
			continue
		}
		count := int32(0)
		if b.Count != nil {
			count = *b.Count
		}
		counts = append(counts, count)
		words = append(words, fmt.Sprintf("%s:%d", b.Rule, count))
	}
	slices.Sort(counts)
	switch len(slices.Compact(counts)) {
	case 0:
		return ""
	case 1:
		return strconv.Itoa(int(counts[0]))
	}
	return strings.Join(words, ",")
}

func stallWords(stall *v1alpha1.HostStall) string {
	if stall == nil {
		return "False"
	}
	return string(stall.Reason)
}

// Columns are the columns of "kubectl get" for a host.
func Columns(hostID int32, s *v1alpha1.LoadBalancingHostStatus) v1alpha1.HostColumns {
	return v1alpha1.HostColumns{
		State:   stateWords(s.State, isDefault(hostID, s)),
		Members: joinIDs(s.Members),
		Buckets: bucketWords(s.Buckets),
		Stalled: stallWords(s.Stall),
	}
}

func isDefault(hostID int32, s *v1alpha1.LoadBalancingHostStatus) bool {
	return s.DefaultHostID != nil && *s.DefaultHostID == hostID
}

// WriteQuery prints a host as "wlbs query" did, and what that could not tell: stalls, buckets, traffic.
func WriteQuery(w io.Writer, host *v1alpha1.LoadBalancingHost) error {
	var b strings.Builder
	s := &host.Status
	fmt.Fprintf(&b, "Cluster %s\n", host.Spec.ClusterName)
	writeConvergence(&b, host.Spec.HostID, s)
	if s.Stall != nil {
		fmt.Fprintf(&b, "Host %d is STALLED: %s", host.Spec.HostID, s.Stall.Reason)
		if s.Stall.Queue != "" {
			fmt.Fprintf(&b, ", %s", s.Stall.Queue)
		}
		fmt.Fprintf(&b, "\n  %s\n", s.Stall.Message)
	}
	for _, r := range s.Buckets {
		count := int32(0)
		if r.Count != nil {
			count = *r.Count
		}
		fmt.Fprintf(&b, "Rule %-20s %2d buckets  %s\n", r.Rule, count, r.Map)
	}
	writeTraffic(&b, &s.Traffic)
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, "%-20s %-8s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeConvergence(b *strings.Builder, id int32, s *v1alpha1.LoadBalancingHostStatus) {
	if s.Convergences != nil && *s.Convergences > 0 {
		fmt.Fprintf(b, "Host %d has entered a converging state %d time(s) since joining the cluster\n", id, *s.Convergences)
		switch last := s.LastConvergence; {
		case s.State == v1alpha1.HostConverging:
			b.WriteString("  and is still in a state of convergence.\n")
		case last != nil && last.StartedAt != nil && last.DurationMilliseconds != nil:
			end := last.StartedAt.Add(time.Duration(*last.DurationMilliseconds) * time.Millisecond)
			fmt.Fprintf(b, "  and the last convergence completed at approximately: %s\n", end.Format(time.DateTime))
		}
	}
	if words := strings.ToLower(string(s.State)); isDefault(id, s) && s.State == v1alpha1.HostConverged {
		fmt.Fprintf(b, "Host %d converged as DEFAULT with the following host(s) as part of the cluster:\n%s\n", id, joinIDs(s.Members))
	} else {
		fmt.Fprintf(b, "Host %d %s with the following host(s) as part of the cluster:\n%s\n", id, words, joinIDs(s.Members))
	}
}

func writeTraffic(b *strings.Builder, t *v1alpha1.HostTraffic) {
	for _, line := range []struct {
		name  string
		value *int64
	}{
		{"Packets rejected", t.Rejected},
		{"Packets invalid", t.Invalid},
		{"Packets admitted", t.Admitted},
		{"Packets delivered", t.Delivered},
		{"Packets answered", t.Answered},
		{"Packets transmitted", t.Transmitted},
		{"Handshakes completed", t.Completed},
		{"Connections tracked", t.Connections},
		{"Connections untracked", t.Untracked},
	} {
		if line.value != nil {
			fmt.Fprintf(b, "%-24s = %d\n", line.name, *line.value)
		}
	}
}
