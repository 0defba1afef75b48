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

// DesiredState is the state an operator wants a host to be in.
// +kubebuilder:validation:Enum=Started;Stopped;Drained;Suspended
type DesiredState string

// The desired states of a host.
const (
	// DesiredStateStarted makes the host a member.
	DesiredStateStarted DesiredState = "Started"
	// DesiredStateStopped makes the host leave at once; its established connections are cut.
	DesiredStateStopped DesiredState = "Stopped"
	// DesiredStateDrained lets the host finish its connections, take no new ones, and then leave.
	DesiredStateDrained DesiredState = "Drained"
	// DesiredStateSuspended is Stopped, and control commands are refused until the state is changed.
	DesiredStateSuspended DesiredState = "Suspended"
)

// RuleState is the state an operator wants a port rule to be in on one host.
// +kubebuilder:validation:Enum=Enabled;Disabled;Drained
type RuleState string

// The desired states of a rule on a host.
const (
	// RuleStateEnabled lets the host take its share of the rule's traffic.
	RuleStateEnabled RuleState = "Enabled"
	// RuleStateDisabled takes all traffic of the rule away from the host.
	RuleStateDisabled RuleState = "Disabled"
	// RuleStateDrained takes new traffic of the rule away from the host; established connections stay.
	RuleStateDrained RuleState = "Drained"
)

// StallAction says what is done about a stalled host.
// +kubebuilder:validation:Enum=Report;Evict
type StallAction string

// The actions on a stall.
const (
	// StallActionReport flags the host in its status and in the cluster's.
	StallActionReport StallAction = "Report"
	// StallActionEvict also gives the host weight 0 until it recovers.
	StallActionEvict StallAction = "Evict"
)

// Hook says where in the kernel the filter runs.
// +kubebuilder:validation:Enum=Auto;XDP;TCX;Clsact
type Hook string

// The hooks of the filter.
const (
	// HookAuto takes native XDP where the interface offers it and its slot is free, else TCX, else Clsact.
	HookAuto Hook = "Auto"
	// HookXDP rejects foreign packets before the kernel allocates a buffer for them.
	HookXDP Hook = "XDP"
	// HookTCX works on every interface; it needs Linux 6.6.
	HookTCX Hook = "TCX"
	// HookClsact does as TCX, by the way that kernels before 6.6 have to attach programs.
	HookClsact Hook = "Clsact"
)

// PortRange is an inclusive range of ports.
// +kubebuilder:validation:XValidation:rule="self.from <= self.to",message="from must not be greater than to: swap the two ports"
type PortRange struct {
	// from is the first port of the range, 0 to 65535.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	From int32 `json:"from"`

	// to is the last port of the range, 0 to 65535 and not lower than from. A single port has from equal to to.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	To int32 `json:"to"`
}

// PortRule says what the cluster does with traffic to a range of ports.
// +kubebuilder:validation:XValidation:rule="!has(self.affinity) || !has(self.filteringMode) || self.filteringMode == 'Multiple'",message="affinity only applies to filteringMode Multiple: remove affinity, or set filteringMode to Multiple"
// +kubebuilder:validation:XValidation:rule="!has(self.affinityTimeoutSeconds) || ((!has(self.filteringMode) || self.filteringMode == 'Multiple') && (!has(self.affinity) || self.affinity != 'None'))",message="affinityTimeoutSeconds needs filteringMode Multiple and affinity Single or Network: remove it, or change the other two"
type PortRule struct {
	// name identifies the rule within the cluster, in status, and in spec.hosts[].rules. It is a DNS label.
	// The name "default" is taken by the rule for ports that no rule covers.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="a rule's name consists of lower-case letters, digits and '-', and starts and ends with a letter or digit"
	// +kubebuilder:validation:XValidation:rule="self != 'default'",message="the name 'default' is taken by the rule for ports that no rule covers: choose another name"
	Name string `json:"name,omitempty"`

	// ports is the range of destination ports that the rule covers. Rules of one virtual IP and one protocol must not overlap.
	// +required
	Ports PortRange `json:"ports,omitzero"`

	// protocol is TCP, UDP or Both. Defaults to Both.
	// Traffic of a protocol that the rule does not cover goes to the rule that does, or else to the default host.
	// +optional
	Protocol Protocol `json:"protocol,omitempty"`

	// virtualIP limits the rule to one of spec.virtualIPs, written as it is there. Unset means all of them.
	// A rule for one virtual IP overrides the rules for all on the ports it covers.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=45
	VirtualIP string `json:"virtualIP,omitempty"`

	// filteringMode says how the hosts share the rule's traffic: Multiple spreads it over all hosts by load weight,
	// Single gives it to the host of the best handling priority, Disabled drops it on every host. Defaults to Multiple.
	// +optional
	FilteringMode FilteringMode `json:"filteringMode,omitempty"`

	// affinity says what selects the host of a client under filteringMode Multiple: None the client's address and port,
	// Single its address, Network its IPv4 /24 or IPv6 /64. Defaults to Single.
	// None spreads best; choose Single or Network where connections of one client belong together, and for UDP
	// with datagrams larger than the MTU, whose later fragments carry no port (Microsoft KB Q229064).
	// +optional
	Affinity Affinity `json:"affinity,omitempty"`

	// affinityTimeoutSeconds keeps a client on its host for that many seconds after the end of its last connection, or its
	// last datagram, even when the hosts converge in between (extended affinity), 1 to 14400. Unset turns it off.
	// Each rule counts for itself. Needs filteringMode Multiple, with affinity Single or Network.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=14400
	AffinityTimeoutSeconds *int32 `json:"affinityTimeoutSeconds,omitempty"`
}

// HostRule holds the settings of one port rule on one host.
type HostRule struct {
	// name is the name of a rule in spec.portRules, or "all" where spec.portRules is unset.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// loadWeight is the host's share of a rule with filteringMode Multiple, 0 to 100, relative to the other members' weights:
	// weights 30 and 60 give a third and two thirds. 0 gives nothing. Defaults to 50.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	LoadWeight *int32 `json:"loadWeight,omitempty"`

	// handlingPriority orders the hosts of a rule with filteringMode Single, 1 to 32: the member with the lowest number
	// gets all of the rule's traffic. Hosts without one come after those with one, by host ID. No two hosts may have the same:
	// the second one stays out of the cluster.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	HandlingPriority *int32 `json:"handlingPriority,omitempty"`

	// state is the state of the rule on this host: Enabled, Disabled (no traffic) or Drained (no new connections).
	// Defaults to Enabled.
	// +optional
	State RuleState `json:"state,omitempty"`
}

// HostConfig holds the settings of one node as member of the cluster.
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.desiredState) || oldSelf.desiredState != 'Suspended' || has(self.desiredState) && self.desiredState in ['Suspended', 'Stopped']",message="a suspended host refuses control commands: resume it first by desiredState Stopped (kubectl wlbs resume), which leaves it stopped, and start or drain it then",messageExpression="'host ' + self.nodeName + ' is suspended and refuses control commands: resume it first by desiredState Stopped (kubectl wlbs resume), which leaves it stopped, and start or drain it then'"
// +kubebuilder:validation:XValidation:rule="!has(self.drainTimeoutSeconds) || (has(self.desiredState) && self.desiredState == 'Drained')",message="drainTimeoutSeconds needs desiredState Drained: set that, or remove drainTimeoutSeconds"
type HostConfig struct {
	// nodeName is the name of the Kubernetes node. The entry has no effect while the node is not selected.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName,omitempty"`

	// hostID is the host's ID and priority, 1 to 32 and unique in the cluster; the member with the lowest one is the
	// default host. Defaults to the lowest free ID when the node joins, which it keeps as long as it is in the cluster.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	HostID *int32 `json:"hostID,omitempty"`

	// desiredState is Started (member), Stopped (no member, connections are cut), Drained (finish connections, then stop)
	// or Suspended (stopped, and control commands are refused). Defaults to Started.
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// drainTimeoutSeconds bounds a drain: what is connected then is cut. Unset takes the cluster's drainTimeoutSeconds.
	// Only with desiredState Drained.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DrainTimeoutSeconds *int32 `json:"drainTimeoutSeconds,omitempty"`

	// rules holds this host's settings of port rules, one entry a rule; rules that are not listed have the defaults.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Rules []HostRule `json:"rules,omitempty"`
}

// Heartbeat holds the timing of the heartbeats.
// +kubebuilder:validation:MinProperties=1
type Heartbeat struct {
	// periodMilliseconds is the time between two heartbeats of a host, 50 to 10000. Defaults to 200; WLBS had 1000.
	// +optional
	// +kubebuilder:validation:Minimum=50
	// +kubebuilder:validation:Maximum=10000
	PeriodMilliseconds *int32 `json:"periodMilliseconds,omitempty"`

	// tolerance is the number of periods a host may be silent before its peers take it for lost, 3 to 100.
	// Defaults to 5 as in WLBS. A crashed host is noticed after periodMilliseconds times tolerance.
	// +optional
	// +kubebuilder:validation:Minimum=3
	// +kubebuilder:validation:Maximum=100
	Tolerance *int32 `json:"tolerance,omitempty"`
}

// StallDetection says when a host that is converged counts as stalled.
// +kubebuilder:validation:MinProperties=1
type StallDetection struct {
	// windowSeconds is how long a stage of the data path must make no progress while the stage before it does, 1 to 300.
	// Defaults to 5.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=300
	WindowSeconds *int32 `json:"windowSeconds,omitempty"`

	// minPackets is the least number of packets in the window that counts as evidence, 1 to 1000000: an idle host is never
	// stalled. Defaults to 16.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinPackets *int32 `json:"minPackets,omitempty"`

	// action is Report (flag the host) or Evict (also give it weight 0 until it recovers). Defaults to Report.
	// Less than half of the members are evicted at a time.
	// +optional
	Action StallAction `json:"action,omitempty"`
}

// Dataplane holds the settings of the filter on the nodes.
// +kubebuilder:validation:MinProperties=1
type Dataplane struct {
	// hook is where in the kernel the filter runs: Auto takes native XDP where the interface offers it and its slot
	// is free, else TCX, and clsact on kernels before 6.6. The hosts' status says which. Defaults to Auto.
	// +optional
	Hook Hook `json:"hook,omitempty"`

	// maxConnections is the size of each host's table of tracked connections, 1024 to 16777216. Connections beyond it are
	// accepted but may break when their bucket moves. Defaults to 262144.
	// +optional
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=16777216
	MaxConnections *int32 `json:"maxConnections,omitempty"`
}

// LoadBalancingClusterSpec is what the user wants.
// +kubebuilder:validation:XValidation:rule="has(self.hosts) || !has(oldSelf.hosts) || !oldSelf.hosts.exists(h, has(h.desiredState) && h.desiredState == 'Suspended')",message="hosts holds a suspended host, which refuses control commands: resume it first by desiredState Stopped (kubectl wlbs resume), then remove hosts"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) ? self.mode : 'Multicast') == (has(oldSelf.mode) ? oldSelf.mode : 'Multicast')",message="mode is immutable because it gives the cluster MAC that clients and routers know: create another LoadBalancingCluster instead"
// +kubebuilder:validation:XValidation:rule="self.virtualIPs[0] == oldSelf.virtualIPs[0]",message="the primary virtual IP, the first of virtualIPs, is immutable because it gives the cluster MAC that clients and routers know: append other virtual IPs, or create another LoadBalancingCluster"
// +kubebuilder:validation:XValidation:rule="!has(self.portRules) || self.portRules.all(r, !has(r.virtualIP) || r.virtualIP in self.virtualIPs)",message="the virtualIP of a port rule must be one of virtualIPs, written as there: add it to virtualIPs or correct the rule"
// +kubebuilder:validation:XValidation:rule="!has(self.hosts) || !has(self.portRules) || self.portRules.all(p, !has(p.filteringMode) || p.filteringMode != 'Single' || [self.hosts.map(h, has(h.rules) && h.rules.exists(r, r.name == p.name && has(r.handlingPriority)) ? h.rules.filter(r, r.name == p.name && has(r.handlingPriority))[0].handlingPriority : 0)].all(l, l.all(v, v == 0 || l.exists_one(w, w == v))))",message="hosts must not have the same handlingPriority in a rule with filteringMode Single: give each its own, or none"
// +kubebuilder:validation:XValidation:rule="!has(self.hosts) || self.hosts.all(h, !has(h.rules) || h.rules.all(r, has(self.portRules) ? self.portRules.exists(p, p.name == r.name) : r.name == 'all'))",message="hosts[].rules[].name must be the name of a rule in portRules, or 'all' where portRules is unset: correct the name or add the rule"
type LoadBalancingClusterSpec struct {
	// mode selects the cluster MAC, the address that clients send to; w.x.y.z is the primary virtual IP:
	// Unicast 02-BF-w-x-y-z, Multicast 03-BF-w-x-y-z, IGMPMulticast 01-00-5E-7F-y-z with a join of 239.255.y.z.
	// Immutable. Defaults to Multicast.
	// +optional
	Mode Mode `json:"mode,omitempty"`

	// virtualIPs are the addresses that all hosts serve at once, 1 to 32, each in canonical form.
	// The first is the primary one: it gives the cluster MAC and is immutable.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="a virtual IP is an IPv4 or IPv6 address such as 192.0.2.10 or 2001:db8::10, without prefix length, zone or IPv4-mapped form"
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) || ip.isCanonical(self)",message="an IPv6 virtual IP is written in canonical form: lower case, no leading zeros, the longest run of zeros as '::', for instance 2001:db8::10"
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) || !(ip(self).isUnspecified() || ip(self).isLoopback() || self.startsWith('0.'))",message="a virtual IP must not be an unspecified or loopback address: choose a free address of the nodes' subnet"
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) || ip(self).isUnspecified() || ip(self).isLoopback() || ip(self).isGlobalUnicast()",message="a virtual IP must not be a multicast, broadcast or link-local address: choose a free address of the nodes' subnet"
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, a == b))",message="each virtual IP may be listed once: remove the duplicate"
	VirtualIPs []string `json:"virtualIPs,omitempty"`

	// interface is the name of the network interface that carries the virtual IPs, on every host.
	// Defaults to the interface whose subnet holds the primary virtual IP.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	// +kubebuilder:validation:XValidation:rule="self.matches('^[^/:\\\\s]+$') && self != '.' && self != '..'",message="an interface name has at most 15 characters, none of them '/', ':' or white space"
	Interface string `json:"interface,omitempty"`

	// nodeSelector selects the nodes that are hosts of the cluster. Unset selects every node whose taints are tolerated.
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// tolerations name the taints that a selected node may have and still be a host, as for the pods of a DaemonSet.
	// A taint NoSchedule keeps new hosts out, a taint NoExecute also removes present ones.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// portRules say what is done with traffic to the virtual IPs, by port. Unset means one rule as in WLBS, named "all":
	// ports 0 to 65535, Both, Multiple, affinity Single. Traffic that no rule covers goes to the default host.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.all(b, a.name == b.name || a.ports.to < b.ports.from || b.ports.to < a.ports.from || (has(a.virtualIP) ? a.virtualIP : '') != (has(b.virtualIP) ? b.virtualIP : '') || (has(a.protocol) && has(b.protocol) && a.protocol != b.protocol && a.protocol != 'Both' && b.protocol != 'Both')))",message="port ranges of rules for the same virtual IP and protocol must not overlap: change the ports, protocol or virtualIP of one of them"
	PortRules []PortRule `json:"portRules,omitempty"`

	// hosts holds settings of single nodes, one entry a node; nodes that are not listed have the defaults.
	// +optional
	// +listType=map
	// +listMapKey=nodeName
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="oldSelf.all(o, !has(o.desiredState) || o.desiredState != 'Suspended' || self.exists(n, n.nodeName == o.nodeName))",message="the entry of a suspended host must not be removed, for that would start it: resume it first by desiredState Stopped (kubectl wlbs resume), then remove its entry"
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.hostID) || self.exists_one(b, has(b.hostID) && b.hostID == a.hostID))",message="each hostID may be given to one host: change one of them"
	Hosts []HostConfig `json:"hosts,omitempty"`

	// drainTimeoutSeconds bounds the drains of hosts that have none of their own: with desiredState Drained, and for the sake of a
	// node that is excluded, deleted or no longer selected. What is connected then is cut. Unset waits for the last
	// connection to end, but 30 seconds at most where the node is deleted or no longer selected.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DrainTimeoutSeconds *int32 `json:"drainTimeoutSeconds,omitempty"`

	// heartbeat holds the timing of the heartbeats, equal on all hosts.
	// +optional
	Heartbeat Heartbeat `json:"heartbeat,omitzero"`

	// stallDetection says when a host that is converged counts as stalled, and what is done about it.
	// +optional
	StallDetection StallDetection `json:"stallDetection,omitzero"`

	// dataplane holds the settings of the filter on the nodes.
	// +optional
	Dataplane Dataplane `json:"dataplane,omitzero"`
}

// HostCounts counts the hosts of a cluster by what they are.
// +kubebuilder:validation:MinProperties=1
type HostCounts struct {
	// desired is the number of nodes that are meant to be hosts of the cluster.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Desired *int32 `json:"desired,omitempty"`

	// members is the number of hosts in the view of the largest group of hosts that agree.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Members *int32 `json:"members,omitempty"`

	// converged is the number of members that are converged.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Converged *int32 `json:"converged,omitempty"`

	// stalled is the number of hosts that carry no traffic although they should.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Stalled *int32 `json:"stalled,omitempty"`
}

// ConvergenceCause says why a convergence began; after the causes of WLBS' WMI ConvergingEvent.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
type ConvergenceCause string

// Causes of a convergence.
const (
	// CauseBadConfig: hosts hold configs that contradict each other.
	CauseBadConfig ConvergenceCause = "BadConfig"
	// CauseNewMember: a host joined.
	CauseNewMember ConvergenceCause = "NewMember"
	// CauseDuplicateHostID: two hosts have one host ID.
	CauseDuplicateHostID ConvergenceCause = "DuplicateHostID"
	// CauseNumberOfRules: hosts have different numbers of port rules.
	CauseNumberOfRules ConvergenceCause = "NumberOfRules"
	// CauseModifiedRules: port rules or their state on a host changed.
	CauseModifiedRules ConvergenceCause = "ModifiedRules"
	// CauseMemberLost: a host fell silent.
	CauseMemberLost ConvergenceCause = "MemberLost"
	// CauseMemberLeft: a host announced its leave.
	CauseMemberLeft ConvergenceCause = "MemberLeft"
	// CauseModifiedParams: weights or other parameters of a host changed.
	CauseModifiedParams ConvergenceCause = "ModifiedParams"
	// CauseStickinessSynchronizationFailure: the hosts agreed, but the lists of clients that stay with their hosts by extended
	// affinity did not come in time: some clients may have changed hosts.
	CauseStickinessSynchronizationFailure ConvergenceCause = "ClientStickinessSynchronizationFailure"
	// CauseUnknown: the host does not know, for it only followed its peers.
	CauseUnknown ConvergenceCause = "Unknown"
)

// ConvergenceRecord describes one convergence.
type ConvergenceRecord struct {
	// cause is why the convergence began, for instance NewMember, MemberLost, MemberLeft or ModifiedRules.
	// +optional
	Cause ConvergenceCause `json:"cause,omitempty"`

	// startedAt is when the convergence began.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`

	// durationMilliseconds is how long the convergence took; unset while it runs.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DurationMilliseconds *int64 `json:"durationMilliseconds,omitempty"`
}

// RuleBuckets lists the buckets that a host owns of one rule.
type RuleBuckets struct {
	// rule is the name of the port rule, or "default" for the rule of ports that no rule covers.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Rule string `json:"rule,omitempty"`

	// count is the number of buckets of the rule whose clients the host serves, of 60.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Count *int32 `json:"count,omitempty"`

	// map has bit b set for bucket b, in hexadecimal. Only LoadBalancingHosts report it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Map string `json:"map,omitempty"`
}

// Membership says whether the members that agree have a host in their view.
// +kubebuilder:validation:Enum=Member;NotMember
type Membership string

// The memberships of a host.
const (
	// MembershipMember: the agreed view lists the host.
	MembershipMember Membership = "Member"
	// MembershipNotMember: the agreed view does not list the host, whatever the host says itself.
	MembershipNotMember Membership = "NotMember"
)

// ClusterHostStatus is one host as the cluster sees it.
type ClusterHostStatus struct {
	// nodeName is the name of the Kubernetes node.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName,omitempty"`

	// hostID is the host's ID and priority, 1 to 32.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	HostID *int32 `json:"hostID,omitempty"`

	// membership is Member while the view of the hosts that agree lists this host, else NotMember. Peers decide this,
	// for a host that vanished cannot report that it vanished. Unset while no host's report is fresh.
	// +optional
	Membership Membership `json:"membership,omitempty"`

	// state is the state that the host reports; Unknown when it never reported, when its last report is older than its
	// lease, or when its peers dropped it although its last report says Converged.
	// +optional
	State HostState `json:"state,omitempty"`

	// members is the host's own view: IDs of the hosts it takes for alive, itself always among them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=32
	Members []int32 `json:"members,omitempty"`

	// buckets counts the buckets whose clients the host serves, by rule.
	// +optional
	// +listType=map
	// +listMapKey=rule
	// +kubebuilder:validation:MaxItems=64
	Buckets []RuleBuckets `json:"buckets,omitempty"`

	// stallReason is the stage at which the host's traffic stands still; unset while it does not.
	// +optional
	StallReason StallReason `json:"stallReason,omitempty"`

	// message says what is wrong with this host; unset while nothing is.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// lastReportTime is when the host last reported, by its own clock. It is only set while state is Unknown, because
	// a time that always moves would cost a write of this status for every report of every host.
	// +optional
	LastReportTime *metav1.Time `json:"lastReportTime,omitempty"`
}

// ClusterColumns holds the columns of kubectl get that need more than one field.
// +kubebuilder:validation:MinProperties=1
type ClusterColumns struct {
	// hosts is the number of converged members, a slash, and the number of desired hosts.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Hosts string `json:"hosts,omitempty"`

	// stalled names the stalled nodes, comma-separated; unset while there is none.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Stalled string `json:"stalled,omitempty"`
}

// LoadBalancingClusterStatus is what the hosts report, put together.
// +kubebuilder:validation:MinProperties=1
type LoadBalancingClusterStatus struct {
	// conditions are Ready, Converged, TrafficStalled, ConfigConsistent, Partitioned, ConnectionTableFull and HostsAssigned.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status speaks of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// generationInForce is the generation of the spec that all members filter by: the oldest that one of them reports.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GenerationInForce *int64 `json:"generationInForce,omitempty"`

	// virtualIPs are those of spec.virtualIPs that are assigned to the cluster. An address that is assigned to another one, or
	// that is a node's own, is not among them, and no host serves it: the condition ConfigConsistent says why. One that was taken out of
	// the spec stays at the end until the hosts' agents have let go of it; nobody else gets it before.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=45
	VirtualIPs []string `json:"virtualIPs,omitempty"`

	// hostCounts counts the hosts by what they are.
	// +optional
	HostCounts HostCounts `json:"hostCounts,omitzero"`

	// defaultHost is the node that serves the ports no rule covers: the member with the lowest host ID.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	DefaultHost string `json:"defaultHost,omitempty"`

	// epoch is the number of the agreed view in force; it grows by every convergence.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Epoch *int64 `json:"epoch,omitempty"`

	// lastConvergence describes the last convergence of the members that agree.
	// +optional
	LastConvergence *ConvergenceRecord `json:"lastConvergence,omitempty"`

	// hosts are the hosts as the cluster sees them, one entry a node.
	// +optional
	// +listType=map
	// +listMapKey=nodeName
	// +kubebuilder:validation:MaxItems=128
	Hosts []ClusterHostStatus `json:"hosts,omitempty"`

	// columns holds the columns of kubectl get that need more than one field.
	// +optional
	Columns ClusterColumns `json:"columns,omitzero"`
}

// LoadBalancingCluster is a set of nodes that all serve the same virtual IPs at once. Its name is a DNS label of at most 40 characters.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=lbc,categories=wlbs
// +kubebuilder:printcolumn:name="VIP",type="string",JSONPath=".spec.virtualIPs[0]",description="Primary virtual IP"
// +kubebuilder:printcolumn:name="Converged",type="string",JSONPath=".status.conditions[?(@.type=='Converged')].status",description="Whether the members agree on view, config and maps"
// +kubebuilder:printcolumn:name="Hosts",type="string",JSONPath=".status.columns.hosts",description="Converged members / desired hosts"
// +kubebuilder:printcolumn:name="Default",type="string",JSONPath=".status.defaultHost",description="Node that serves the ports no rule covers"
// +kubebuilder:printcolumn:name="Stalled",type="string",JSONPath=".status.columns.stalled",description="Nodes that are converged and carry no traffic"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
// +kubebuilder:printcolumn:name="Ready",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].status",description="Whether the virtual IPs are served as the spec says"
// +kubebuilder:printcolumn:name="Reason",type="string",priority=1,JSONPath=".status.conditions[?(@.type=='Ready')].reason",description="Why the cluster is ready or not"
// +kubebuilder:printcolumn:name="Mode",type="string",priority=1,JSONPath=".spec.mode",description="Which cluster MAC is used"
// +kubebuilder:printcolumn:name="Epoch",type="integer",priority=1,JSONPath=".status.epoch",description="Number of the view in force"
// +kubebuilder:printcolumn:name="Cause",type="string",priority=1,JSONPath=".status.lastConvergence.cause",description="Cause of the last convergence"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 40",message="the name of a LoadBalancingCluster has at most 40 characters because the names of its objects and files begin with it: choose a shorter name"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.')",message="the name of a LoadBalancingCluster must not contain '.', because its hosts are named <cluster>.<node>: use '-'"
type LoadBalancingCluster struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user wants.
	// +required
	Spec LoadBalancingClusterSpec `json:"spec,omitzero"`

	// status is what the hosts report, put together.
	// +optional
	Status LoadBalancingClusterStatus `json:"status,omitzero"`
}

// LoadBalancingClusterList is a list of clusters.
//
// +kubebuilder:object:root=true
type LoadBalancingClusterList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the clusters.
	Items []LoadBalancingCluster `json:"items"`
}
