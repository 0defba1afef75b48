// SPDX-License-Identifier: Apache-2.0

package words

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// WriteQuery prints a host as "wlbs query" did, and what that could not tell: the names of its peers, stalls, buckets,
// traffic, conditions.
func WriteQuery(w io.Writer, host *v1alpha1.LoadBalancingHost, peers []Peer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Cluster %s\n", clusterWords(host.Spec.ClusterName, host.Status.Dataplane.VirtualIPs))
	writeState(&b, host)
	writePeers(&b, peers)
	writeDetails(&b, host)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteState prints the lines of "wlbs query" about one host, without the name of its cluster: what it does and the
// hosts it lists, and a stall if there is one.
func WriteState(w io.Writer, host *v1alpha1.LoadBalancingHost) error {
	var b strings.Builder
	writeState(&b, host)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteDetails prints what "wlbs query" could not tell: buckets, traffic and conditions of a host.
func WriteDetails(w io.Writer, host *v1alpha1.LoadBalancingHost) error {
	var b strings.Builder
	writeDetails(&b, host)
	_, err := io.WriteString(w, b.String())
	return err
}

func clusterWords(name string, virtualIPs []string) string {
	if len(virtualIPs) == 0 {
		return name
	}
	return fmt.Sprintf("%s (%s)", name, virtualIPs[0])
}

func writeState(b *strings.Builder, host *v1alpha1.LoadBalancingHost) {
	s := &host.Status
	writeConvergences(b, host)
	fmt.Fprintf(b, "Host %d %s:\n%s\n", host.Spec.HostID, listWords(host), joinIDs(Members(host)))
	if s.State == v1alpha1.HostDraining && s.Traffic.Connections != nil {
		fmt.Fprintf(b, "  %d connection(s) left\n", *s.Traffic.Connections)
	}
	if words := Maintenance(host); words != "" {
		fmt.Fprintf(b, "  %s\n", words)
	}
	if s.Stall == nil {
		return
	}
	fmt.Fprintf(b, "Host %d is STALLED: %s", host.Spec.HostID, s.Stall.Reason)
	if s.Stall.Queue != "" {
		fmt.Fprintf(b, ", %s", s.Stall.Queue)
	}
	fmt.Fprintf(b, "\n  %s\n", s.Stall.Message)
}

// listWords are the words before the list of hosts. Those of a converged and of a converging host are published,
// the others say what a host without a part in the cluster lists its peers for.
func listWords(host *v1alpha1.LoadBalancingHost) string {
	const part = " with the following host(s) as part of the cluster"
	switch s := &host.Status; s.State {
	case v1alpha1.HostConverged:
		if isDefault(host.Spec.HostID, s) {
			return "converged as DEFAULT" + part
		}
		return "converged" + part
	case v1alpha1.HostConverging:
		return "converging" + part
	case v1alpha1.HostDraining:
		return "draining" + part
	case v1alpha1.HostStopped:
		if host.Spec.EffectiveDesiredState() == v1alpha1.DesiredStateDrained {
			return "is drained and stopped, and serves nothing; it lists the following host(s)"
		}
		return "is stopped and serves nothing; it lists the following host(s)"
	case v1alpha1.HostSuspended:
		return "is suspended: it serves nothing and refuses control commands; it lists the following host(s)"
	case v1alpha1.HostExcluded:
		return "is excluded: its peers serve without it; it lists the following host(s)"
	case v1alpha1.HostDisconnected:
		return "is disconnected, for its interface has no carrier; it lists the following host(s)"
	case v1alpha1.HostUnknown:
		return "is unknown, for its last report is too old; it listed the following host(s)"
	default:
		return "has not reported yet; it lists the following host(s)"
	}
}

func writeConvergences(b *strings.Builder, host *v1alpha1.LoadBalancingHost) {
	s := &host.Status
	switch s.State {
	case v1alpha1.HostConverged, v1alpha1.HostConverging, v1alpha1.HostDraining, v1alpha1.HostExcluded:
	default:
		return
	}
	if valueOf(s.Convergences) == 0 {
		return
	}
	fmt.Fprintf(b, "Host %d has entered a converging state %d time(s) since joining the cluster\n", host.Spec.HostID,
		*s.Convergences)
	switch last := s.LastConvergence; {
	case s.State == v1alpha1.HostConverging:
		b.WriteString("  and is still in a state of convergence.\n")
	case last != nil && last.StartedAt != nil && last.DurationMilliseconds != nil:
		end := last.StartedAt.Add(time.Duration(*last.DurationMilliseconds) * time.Millisecond)
		fmt.Fprintf(b, "  and the last convergence completed at approximately: %s\n", end.Format(time.DateTime))
	}
}

func writeDetails(b *strings.Builder, host *v1alpha1.LoadBalancingHost) {
	for _, r := range host.Status.Buckets {
		fmt.Fprintf(b, "Rule %-20s %2d buckets  %s", r.Rule, valueOf(r.Count), r.Map)
		if rule := host.Spec.Rule(r.Rule); rule.State != v1alpha1.RuleStateEnabled {
			fmt.Fprintf(b, "  %s", rule.State)
		}
		b.WriteByte('\n')
		writeRuleTraffic(b, host.Status.Traffic.Rules, r.Rule)
	}
	writeTraffic(b, &host.Status.Traffic)
	for _, c := range host.Status.Conditions {
		fmt.Fprintf(b, "%-20s %-8s %s", c.Type, c.Status, c.Reason)
		if c.Message != "" {
			fmt.Fprintf(b, ": %s", c.Message)
		}
		b.WriteByte('\n')
	}
}

// writeRuleTraffic prints a rule's packets as "wlbs queryport" did, and its connection requests.
func writeRuleTraffic(b *strings.Builder, rules []v1alpha1.RuleTraffic, name string) {
	for _, t := range rules {
		if t.Rule == name {
			fmt.Fprintf(b, "     Packets: Accepted=%d, Dropped=%d; connection requests: %d\n", valueOf(t.Accepted),
				valueOf(t.Dropped), valueOf(t.Opened))
		}
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
