// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mode says which MAC address frames for the virtual IPs are sent to.
// +kubebuilder:validation:Enum=Unicast;Multicast;IGMPMulticast
type Mode string

// The modes of a cluster; w.x.y.z is the primary virtual IP.
const (
	// ModeUnicast uses the cluster MAC 02-BF-w-x-y-z.
	ModeUnicast Mode = "Unicast"
	// ModeMulticast uses the cluster MAC 03-BF-w-x-y-z.
	ModeMulticast Mode = "Multicast"
	// ModeIGMPMulticast uses the cluster MAC 01-00-5E-7F-y-z and joins 239.255.y.z.
	ModeIGMPMulticast Mode = "IGMPMulticast"
)

// Protocol is the transport protocol that a port rule covers.
// +kubebuilder:validation:Enum=TCP;UDP;Both
type Protocol string

// The protocols of a port rule.
const (
	ProtocolTCP  Protocol = "TCP"
	ProtocolUDP  Protocol = "UDP"
	ProtocolBoth Protocol = "Both"
)

// FilteringMode says how the hosts share the traffic of a port rule.
// +kubebuilder:validation:Enum=Multiple;Single;Disabled
type FilteringMode string

// The filtering modes of a port rule.
const (
	// FilteringModeMultiple spreads clients over all hosts by load weight.
	FilteringModeMultiple FilteringMode = "Multiple"
	// FilteringModeSingle sends everything to the host of the best handling priority.
	FilteringModeSingle FilteringMode = "Single"
	// FilteringModeDisabled drops everything on every host.
	FilteringModeDisabled FilteringMode = "Disabled"
)

// Affinity says which part of a client's identity selects its host.
// +kubebuilder:validation:Enum=None;Single;Network
type Affinity string

// The affinities of a port rule.
const (
	// AffinityNone hashes client address and port: each connection is placed on its own.
	AffinityNone Affinity = "None"
	// AffinitySingle hashes the client address: a client stays on one host.
	AffinitySingle Affinity = "Single"
	// AffinityNetwork hashes the client's IPv4 /24 or IPv6 /64.
	AffinityNetwork Affinity = "Network"
)

// HostState is the state an operator wants a host to be in.
// +kubebuilder:validation:Enum=Started;Stopped;Drained;Suspended
type HostState string

// The desired states of a host.
const (
	HostStateStarted   HostState = "Started"
	HostStateStopped   HostState = "Stopped"
	HostStateDrained   HostState = "Drained"
	HostStateSuspended HostState = "Suspended"
)

// RuleState is the state an operator wants a port rule to be in on one host.
// +kubebuilder:validation:Enum=Enabled;Disabled;Drained
type RuleState string

// The desired states of a rule on a host.
const (
	RuleStateEnabled  RuleState = "Enabled"
	RuleStateDisabled RuleState = "Disabled"
	RuleStateDrained  RuleState = "Drained"
)

// StallAction says what is done about a stalled host.
// +kubebuilder:validation:Enum=Report;Evict
type StallAction string

// The actions on a stall.
const (
	StallActionReport StallAction = "Report"
	StallActionEvict  StallAction = "Evict"
)

// Hook says where in the kernel the filter runs.
// +kubebuilder:validation:Enum=Auto;XDP;TCX
type Hook string

// The hooks of the filter.
const (
	// HookAuto takes native XDP where the interface offers it and its slot is free, else TCX.
	HookAuto Hook = "Auto"
	HookXDP  Hook = "XDP"
	HookTCX  Hook = "TCX"
)

// PortRange is an inclusive range of ports.
type PortRange struct {
	// from is the first port of the range.
	From int32 `json:"from"`
	// to is the last port of the range, not lower than from.
	To int32 `json:"to"`
}

// PortRule says what the cluster does with traffic to a range of ports.
type PortRule struct {
	// name identifies the rule within the cluster.
	Name string `json:"name"`
	// ports is the range of destination ports.
	Ports PortRange `json:"ports"`
	// protocol defaults to Both.
	Protocol Protocol `json:"protocol,omitempty"`
	// virtualIP limits the rule to one virtual IP; unset means all. A rule for one virtual IP overrides one for all.
	VirtualIP string `json:"virtualIP,omitempty"`
	// filteringMode defaults to Multiple.
	FilteringMode FilteringMode `json:"filteringMode,omitempty"`
	// affinity defaults to Single for rules with filteringMode Multiple.
	Affinity Affinity `json:"affinity,omitempty"`
	// affinityTimeoutSeconds turns on extended affinity.
	AffinityTimeoutSeconds *int32 `json:"affinityTimeoutSeconds,omitempty"`
}

// HostRule holds the settings of one port rule on one host.
type HostRule struct {
	// name of the port rule.
	Name string `json:"name"`
	// loadWeight is this host's share relative to the others' weights, 0..100; default 50.
	LoadWeight *int32 `json:"loadWeight,omitempty"`
	// handlingPriority orders the hosts of a Single rule, 1 first; default the host ID.
	HandlingPriority *int32 `json:"handlingPriority,omitempty"`
	// state defaults to Enabled.
	State RuleState `json:"state,omitempty"`
}

// HostConfig holds the settings of one node as member of the cluster.
type HostConfig struct {
	// nodeName is the Kubernetes node.
	NodeName string `json:"nodeName"`
	// hostID is the host's ID and priority, 1..32; default the lowest free one.
	HostID *int32 `json:"hostID,omitempty"`
	// desiredState defaults to Started.
	DesiredState HostState `json:"desiredState,omitempty"`
	// rules holds per-rule settings of this host.
	Rules []HostRule `json:"rules,omitempty"`
}

// Heartbeat holds the timing of the heartbeats.
type Heartbeat struct {
	// periodMilliseconds between heartbeats, 50..10000; default 200.
	PeriodMilliseconds *int32 `json:"periodMilliseconds,omitempty"`
	// tolerance is how many periods a host may be silent before it is lost, 3..100; default 5.
	Tolerance *int32 `json:"tolerance,omitempty"`
}

// StallDetection says when a host that is converged counts as stalled.
type StallDetection struct {
	// windowSeconds is how long progress must be missing, 1..300; default 5.
	WindowSeconds *int32 `json:"windowSeconds,omitempty"`
	// minPackets is the least traffic that counts as evidence; default 16.
	MinPackets *int32 `json:"minPackets,omitempty"`
	// action defaults to Report.
	Action StallAction `json:"action,omitempty"`
}

// Dataplane holds the settings of the filter on the nodes.
type Dataplane struct {
	// hook defaults to Auto.
	Hook Hook `json:"hook,omitempty"`
	// maxConnections is the size of the table of tracked connections; default 262144 as in NLB.
	MaxConnections *int32 `json:"maxConnections,omitempty"`
}

// LoadBalancingClusterSpec is what the user wants.
type LoadBalancingClusterSpec struct {
	// mode selects the cluster MAC; immutable. Default Multicast.
	Mode Mode `json:"mode,omitempty"`
	// virtualIPs are served by all hosts; the first is the primary one, gives the cluster MAC and is immutable.
	VirtualIPs []string `json:"virtualIPs,omitempty"`
	// interface carries the virtual IPs; default the one whose subnet holds the primary virtual IP.
	Interface string `json:"interface,omitempty"`
	// nodeSelector selects the nodes that are hosts of the cluster; unset selects all that the tolerations allow.
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`
	// tolerations of the agent pods.
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`
	// portRules defaults to one rule as in WLBS: ports 0-65535, Both, Multiple, affinity Single.
	PortRules []PortRule `json:"portRules,omitempty"`
	// hosts holds settings of single nodes.
	Hosts []HostConfig `json:"hosts,omitempty"`
	// heartbeat holds the timing of the heartbeats.
	Heartbeat Heartbeat `json:"heartbeat,omitzero"`
	// stallDetection says when a host counts as stalled.
	StallDetection StallDetection `json:"stallDetection,omitzero"`
	// dataplane holds the settings of the filter.
	Dataplane Dataplane `json:"dataplane,omitzero"`
}

// HostCounts counts the hosts of a cluster by what they are.
type HostCounts struct {
	// desired is the number of nodes that are meant to be hosts.
	Desired *int32 `json:"desired,omitempty"`
	// members is the number of hosts in the view of the largest group that agrees.
	Members *int32 `json:"members,omitempty"`
	// converged is the number of members that are converged.
	Converged *int32 `json:"converged,omitempty"`
	// stalled is the number of members that carry no traffic although they should.
	Stalled *int32 `json:"stalled,omitempty"`
}

// ConvergenceCause says why a convergence began; after the causes of WLBS' WMI ConvergingEvent.
type ConvergenceCause string

// Causes of a convergence.
const (
	CauseBadConfig       ConvergenceCause = "BadConfig"
	CauseNewMember       ConvergenceCause = "NewMember"
	CauseDuplicateHostID ConvergenceCause = "DuplicateHostID"
	CauseNumberOfRules   ConvergenceCause = "NumberOfRules"
	CauseModifiedRules   ConvergenceCause = "ModifiedRules"
	CauseMemberLost      ConvergenceCause = "MemberLost"
	CauseMemberLeft      ConvergenceCause = "MemberLeft"
	CauseModifiedParams  ConvergenceCause = "ModifiedParams"
	CauseUnknown         ConvergenceCause = "Unknown"
)

// ConvergenceRecord describes one convergence.
type ConvergenceRecord struct {
	// cause is why it began.
	Cause ConvergenceCause `json:"cause,omitempty"`
	// startedAt is when it began.
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// durationMilliseconds is how long it took; unset while it runs.
	DurationMilliseconds *int64 `json:"durationMilliseconds,omitempty"`
}

// RuleBuckets tells the buckets that a host owns of one rule.
type RuleBuckets struct {
	// rule is the name of the port rule, or "default" for the rule of ports no rule covers.
	Rule string `json:"rule"`
	// count is the number of buckets, 0..60.
	Count *int32 `json:"count,omitempty"`
	// map has bit b set for bucket b, in hexadecimal. Only hosts report it.
	Map string `json:"map,omitempty"`
}

// ClusterHostStatus is one host as the cluster sees it.
type ClusterHostStatus struct {
	// nodeName is the Kubernetes node.
	NodeName string `json:"nodeName"`
	// hostID is the host's ID and priority.
	HostID *int32 `json:"hostID,omitempty"`
	// state of the host; Unknown when its report is older than its lease.
	State HostCondition `json:"state,omitempty"`
	// members is the host's view: IDs of the hosts it takes for alive, itself always among them.
	Members []int32 `json:"members,omitempty"`
	// buckets the host owns, by rule.
	Buckets []RuleBuckets `json:"buckets,omitempty"`
	// stallReason is set while the host is stalled.
	StallReason StallReason `json:"stallReason,omitempty"`
	// message for people: what is wrong with this host, if anything.
	Message string `json:"message,omitempty"`
	// lastReportTime is when the host's own report was last renewed.
	LastReportTime *metav1.Time `json:"lastReportTime,omitempty"`
}

// ClusterColumns holds the columns of kubectl get that need more than one field.
type ClusterColumns struct {
	// hosts is "converged members/desired".
	Hosts string `json:"hosts,omitempty"`
	// stalled names the stalled nodes, comma-separated.
	Stalled string `json:"stalled,omitempty"`
}

// LoadBalancingClusterStatus is what the hosts report, put together.
type LoadBalancingClusterStatus struct {
	// observedGeneration is the generation of the spec that this status speaks of.
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// hostCounts counts the hosts by what they are.
	HostCounts HostCounts `json:"hostCounts,omitzero"`
	// defaultHost is the node that serves the ports no rule covers.
	DefaultHost string `json:"defaultHost,omitempty"`
	// epoch is the number of the view in force.
	Epoch *int64 `json:"epoch,omitempty"`
	// lastConvergence describes the last convergence.
	LastConvergence *ConvergenceRecord `json:"lastConvergence,omitempty"`
	// hosts, one entry a node.
	Hosts []ClusterHostStatus `json:"hosts,omitempty"`
	// columns of kubectl get.
	Columns ClusterColumns `json:"columns,omitzero"`
	// conditions: Ready, Converged, TrafficStalled, ConfigConsistent, Partitioned, FieldsInEffect.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LoadBalancingCluster is a set of nodes that all serve the same virtual IPs at once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=lbc
type LoadBalancingCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	Spec LoadBalancingClusterSpec `json:"spec,omitzero"`
	// status is what the hosts report.
	Status LoadBalancingClusterStatus `json:"status,omitzero"`
}

// LoadBalancingClusterList is a list of clusters.
//
// +kubebuilder:object:root=true
type LoadBalancingClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []LoadBalancingCluster `json:"items"`
}
