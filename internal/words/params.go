// SPDX-License-Identifier: Apache-2.0

package words

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// WriteParams prints the parameters of a host in the layout of "wlbs params" of Windows 2000 and 2003, with the names
// of its registry parameters. Those that have no counterpart here are not printed; what WLBS had no name for comes
// after them.
func WriteParams(w io.Writer, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Cluster %s\nRetrieving parameters\n", clusterWords(cluster.Name, cluster.Spec.VirtualIPs))
	for _, p := range parameters(cluster, host) {
		fmt.Fprintf(&b, "%-25s = %s\n", p.name, p.value)
	}
	writeRules(&b, cluster, host)
	writeStatistics(&b, &host.Status.Traffic)
	_, err := io.WriteString(w, b.String())
	return err
}

type parameter struct{ name, value string }

func parameters(cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost) []parameter {
	spec := &cluster.Spec
	mode := spec.EffectiveMode()
	primary := primaryOf(spec)
	group := "0.0.0.0"
	if g := v1alpha1.ClusterGroup(mode, primary); g.IsValid() {
		group = g.String()
	}
	dataplane := &host.Status.Dataplane
	return []parameter{
		{"HostName", host.Spec.NodeName},
		{"HostPriority", strconv.Itoa(int(host.Spec.HostID))},
		{"ClusterIPAddress", primary.String()},
		{"McastIPAddress", group},
		{"ClusterName", cluster.Name},
		{"ClusterNetworkAddress", MAC(v1alpha1.ClusterMAC(mode, primary))},
		{"MulticastSupportEnable", enabled(mode != v1alpha1.ModeUnicast)},
		{"IGMPSupport", enabled(mode == v1alpha1.ModeIGMPMulticast)},
		{"AliveMsgPeriod", strconv.FormatInt(spec.Heartbeat.Period().Milliseconds(), 10)},
		{"AliveMsgTolerance", strconv.Itoa(int(spec.Heartbeat.EffectiveTolerance()))},
		{"MaxConnectionDescriptors", strconv.Itoa(int(spec.Dataplane.EffectiveMaxConnections()))},
		{"ClusterModeOnStart", strings.ToUpper(string(host.Spec.EffectiveDesiredState()))},
		{"HostState", strings.ToUpper(State(host))},
		{"VirtualIPAddresses", strings.Join(spec.VirtualIPs, ",")},
		{"Mode", string(mode)},
		{"Interface", orNone(dataplane.Interface)},
		{"HostNetworkAddress", orNone(strings.ReplaceAll(dataplane.HostMAC, ":", "-"))},
		{"FilterHook", orNone(string(dataplane.Hook))},
		{"StallWindow", strconv.FormatInt(spec.StallDetection.Window().Milliseconds(), 10)},
		{"StallMinPackets", strconv.Itoa(int(spec.StallDetection.EffectiveMinPackets()))},
		{"StallAction", string(spec.StallDetection.EffectiveAction())},
		{"SpecGeneration", strconv.FormatInt(cluster.Generation, 10)},
		{"GenerationInForce", generationWords(host.Status.ClusterGeneration)},
	}
}

func primaryOf(spec *v1alpha1.LoadBalancingClusterSpec) netip.Addr {
	if len(spec.VirtualIPs) == 0 {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(spec.VirtualIPs[0])
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

func enabled(is bool) string {
	if is {
		return "ENABLED"
	}
	return "DISABLED"
}

func orNone(s string) string {
	if s == "" {
		return "NONE"
	}
	return s
}

func generationWords(generation *int64) string {
	if generation == nil {
		return "NONE"
	}
	return strconv.FormatInt(*generation, 10)
}

// vipWidth is the width of the column VIP in "wlbs params": an IPv4 address. Longer addresses widen it.
const vipWidth = len("255.255.255.255")

func writeRules(b *strings.Builder, cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost) {
	rules := cluster.Spec.EffectivePortRules()
	vip, name := vipWidth, len("Name")
	for i := range rules {
		vip, name = max(vip, len(rules[i].VirtualIP)), max(name, len(rules[i].Name))
	}
	dashes := func(n int) string { return strings.Repeat("-", n) }
	fmt.Fprintf(b, "\nPortRules (%d):\n", len(rules))
	fmt.Fprintf(b, "%-*s Start  End  Prot   Mode   Pri Load Affinity Timeout State    Name\n", vip,
		strings.Repeat(" ", (vip-len("VIP"))/2)+"VIP")
	fmt.Fprintf(b, "%s ----- ----- ---- -------- --- ---- -------- ------- -------- %s\n", dashes(vip), dashes(name))
	for i := range rules {
		r := &rules[i]
		settings := host.Spec.Rule(r.Name)
		address := r.VirtualIP
		if address == "" {
			address = "All"
		}
		fmt.Fprintf(b, "%-*s %5d %5d %-4s %-8s %3s %4s %-8s %7s %-8s %s\n", vip, address, r.Ports.From, r.Ports.To,
			r.Protocol,
			r.FilteringMode, priorityWords(r, &settings), loadWords(r,
				host), r.Affinity, timeoutWords(r), settings.State, r.Name)
	}
}

// timeoutWords is the time of extended affinity in seconds, as Get-NlbClusterPortRule has it in minutes.
func timeoutWords(r *v1alpha1.PortRule) string {
	if r.AffinityTimeoutSeconds == nil {
		return ""
	}
	return fmt.Sprint(*r.AffinityTimeoutSeconds)
}

func priorityWords(r *v1alpha1.PortRule, settings *v1alpha1.HostRule) string {
	if r.FilteringMode != v1alpha1.FilteringModeSingle {
		return ""
	}
	if settings.HandlingPriority == nil {
		return "Dfl" // after those that have one, by host ID
	}
	return strconv.Itoa(int(*settings.HandlingPriority))
}

// loadWords is "Eql" for a host that shares equally, as WLBS printed it, else its weight.
func loadWords(r *v1alpha1.PortRule, host *v1alpha1.LoadBalancingHost) string {
	if r.FilteringMode != v1alpha1.FilteringModeMultiple {
		return ""
	}
	for i := range host.Spec.Rules {
		if set := &host.Spec.Rules[i]; set.Name == r.Name && set.LoadWeight != nil {
			return strconv.Itoa(int(*set.LoadWeight))
		}
	}
	return "Eql"
}

func writeStatistics(b *strings.Builder, t *v1alpha1.HostTraffic) {
	b.WriteString("\nStatistics:\n")
	fmt.Fprintf(b, "%-35s = %d\n", "Number of active connections", valueOf(t.Connections))
	fmt.Fprintf(b, "%-35s = %d\n", "Number of connections not tracked", valueOf(t.Untracked))
}
