// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a LoadBalancingCluster and of a LoadBalancingHost.
const (
	// ConditionReady sums up the others: the virtual IPs are served as the spec says.
	ConditionReady = "Ready"
	// ConditionConverged is True while all members agree on view, config and maps.
	ConditionConverged = "Converged"
	// ConditionTrafficStalled is True while a converged host carries no traffic (Microsoft KB Q228942).
	// Its reason is the StallReason, or ReasonSeveralStalls.
	ConditionTrafficStalled = "TrafficStalled"
	// ConditionConfigConsistent is False while hosts hold different configs, IDs or rules (Microsoft KB Q193599).
	ConditionConfigConsistent = "ConfigConsistent"
	// ConditionPartitioned is True while two disjoint views both say that they are converged. Cluster only.
	ConditionPartitioned = "Partitioned"
	// ConditionConnectionTableFull is True while a host has no room to track new TCP connections. They are served all the
	// same, as in NLB, but break when their bucket moves to another host. Ready does not depend on it.
	ConditionConnectionTableFull = "ConnectionTableFull"
	// ConditionHostsAssigned is False while a selected node cannot become a host. Cluster only.
	ConditionHostsAssigned = "HostsAssigned"
	// ConditionDataplaneReady is True while interface, addresses and filter are set up. Host only.
	ConditionDataplaneReady = "DataplaneReady"
)

// Reasons of more than one condition.
const (
	// ReasonReportsOutdated: no host's report is younger than its lease, so nothing can be said (status Unknown).
	// On a host: its own report is older than its lease.
	ReasonReportsOutdated = "ReportsOutdated"
	// ReasonMemberLost: the peers dropped the host, and its agent has not reported since. Host only (status Unknown).
	ReasonMemberLost = "MemberLost"
	// ReasonNoHosts: no node is selected, or no selected node is meant to be a member.
	ReasonNoHosts = "NoHosts"
)

// Reasons of ConditionReady. Where several apply, the first in this order is given.
const (
	// ReasonServing: all desired hosts are members, converged and carry their traffic.
	ReasonServing = "Serving"
	// ReasonDeleting: the cluster is being deleted and waits for hosts to tear down.
	ReasonDeleting = "Deleting"
	// ReasonPartitioned: see ConditionPartitioned.
	ReasonPartitioned = "Partitioned"
	// ReasonConfigInconsistent: see ConditionConfigConsistent.
	ReasonConfigInconsistent = "ConfigInconsistent"
	// ReasonNotConverged: see ConditionConverged.
	ReasonNotConverged = "NotConverged"
	// ReasonTrafficStalled: see ConditionTrafficStalled.
	ReasonTrafficStalled = "TrafficStalled"
	// ReasonHostsMissing: the members agree, but desired hosts are not among them.
	ReasonHostsMissing = "HostsMissing"
	// ReasonHostsNotAssigned: see ConditionHostsAssigned.
	ReasonHostsNotAssigned = "HostsNotAssigned"
)

// Reasons of ConditionConverged.
const (
	// ReasonConverged: the members agree on view, config and maps.
	ReasonConverged = "Converged"
	// ReasonConverging: hosts report that they are converging.
	ReasonConverging = "Converging"
	// ReasonWaitingForHosts: hosts have not reported yet.
	ReasonWaitingForHosts = "WaitingForHosts"
	// ReasonViewsDiffer: hosts that say they are converged have different views.
	ReasonViewsDiffer = "ViewsDiffer"
	// ReasonConfigPending: the newest spec is not in force on all members yet.
	ReasonConfigPending = "ConfigPending"
)

// Reasons of ConditionTrafficStalled besides those of StallReason.
const (
	// ReasonTrafficFlows: no host is stalled; an idle host is not stalled either.
	ReasonTrafficFlows = "TrafficFlows"
	// ReasonSeveralStalls: hosts are stalled for different reasons; the message has them.
	ReasonSeveralStalls = "SeveralStalls"
)

// Reasons of ConditionConfigConsistent.
const (
	// ReasonConsistent: no contradiction is known.
	ReasonConsistent = "Consistent"
	// ReasonVirtualIPIsNodeAddress: a virtual IP is an address of a node itself.
	ReasonVirtualIPIsNodeAddress = "VirtualIPIsNodeAddress"
	// ReasonVirtualIPConflict: two LoadBalancingClusters have a virtual IP in common.
	ReasonVirtualIPConflict = "VirtualIPConflict"
	// ReasonDuplicateHostID: two hosts on the wire have one host ID.
	ReasonDuplicateHostID = "DuplicateHostID"
	// ReasonRulesDiffer: hosts hold different port rules.
	ReasonRulesDiffer = "RulesDiffer"
	// ReasonDuplicateHandlingPriority: hosts have one handling priority in a rule with filteringMode Single.
	ReasonDuplicateHandlingPriority = "DuplicateHandlingPriority"
	// ReasonConflict: hosts contradict each other in something else; the message has it.
	ReasonConflict = "Conflict"
)

// Reasons of ConditionPartitioned.
const (
	// ReasonDisjointViews: groups of hosts are converged without each other; each serves all buckets.
	ReasonDisjointViews = "DisjointViews"
	// ReasonOneView: there is one group of converged hosts.
	ReasonOneView = "OneView"
)

// Reasons of ConditionConnectionTableFull.
const (
	// ReasonConnectionTableFull: spec.dataplane.maxConnections connections are tracked. On a cluster the message names the hosts.
	ReasonConnectionTableFull = "ConnectionTableFull"
	// ReasonConnectionsTracked: every new connection is tracked.
	ReasonConnectionsTracked = "ConnectionsTracked"
)

// Reasons of ConditionHostsAssigned.
const (
	// ReasonAllAssigned: every selected node is a host.
	ReasonAllAssigned = "AllAssigned"
	// ReasonTooManyNodes: more than MaxHosts nodes are selected; the message names those that got no host ID.
	ReasonTooManyNodes = "TooManyNodes"
	// ReasonHostIDInUse: a host that is being removed still holds the host ID that the spec gives to another node.
	ReasonHostIDInUse = "HostIDInUse"
	// ReasonInvalidNodeSelector: spec.nodeSelector cannot be evaluated.
	ReasonInvalidNodeSelector = "InvalidNodeSelector"
)

// Reasons of ConditionDataplaneReady.
const (
	// ReasonDataplaneReady: interface, addresses and filter are set up.
	ReasonDataplaneReady = "DataplaneReady"
	// ReasonInterfaceNotFound: the node lacks the interface, or none has a subnet that holds the primary virtual IP.
	ReasonInterfaceNotFound = "InterfaceNotFound"
	// ReasonMTUTooSmall: the interface cannot carry a heartbeat, whose payload is 1496 bytes and is never fragmented.
	ReasonMTUTooSmall = "MTUTooSmall"
	// ReasonKernelTooOld: the node runs a Linux before 6.1, the lowest that the dataplane works on.
	ReasonKernelTooOld = "KernelTooOld"
	// ReasonAgentEnded: the agent left the cluster and ended, because its node shuts down or no agent follows it.
	ReasonAgentEnded = "AgentEnded"
	// ReasonDataplaneError: the message has the error.
	ReasonDataplaneError = "DataplaneError"
)

// Finalizer keeps a LoadBalancingHost until its agent has removed everything from the node.
const Finalizer = "wlbs.dev/dataplane"

// ClusterFinalizer keeps a LoadBalancingCluster, and with it the agents, until all its hosts are gone.
const ClusterFinalizer = "wlbs.dev/hosts"

// ClusterLabel is on everything that belongs to a LoadBalancingCluster; its value is the cluster's name.
const ClusterLabel = "wlbs.dev/cluster"
