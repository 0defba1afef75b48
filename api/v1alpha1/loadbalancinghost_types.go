// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HostCondition is the state a host is in, after the states that "wlbs query" prints.
// +kubebuilder:validation:Enum=Converging;Converged;Draining;Stopped;Suspended;Excluded;Unknown
type HostCondition string

// The states of a host.
const (
	// HostConverging means that the host and its peers do not agree on view, config and maps yet.
	HostConverging HostCondition = "Converging"
	// HostConverged means that all members of the host's view agree with it.
	HostConverged HostCondition = "Converged"
	// HostDraining means that the host takes no new connections and leaves when the last one ends.
	HostDraining HostCondition = "Draining"
	// HostStopped means that the host is no member.
	HostStopped HostCondition = "Stopped"
	// HostSuspended means that the host is stopped and refuses control commands.
	HostSuspended HostCondition = "Suspended"
	// HostExcluded means that live peers serve without this host; it has released everything.
	HostExcluded HostCondition = "Excluded"
	// HostUnknown means that the host's report is older than its lease.
	HostUnknown HostCondition = "Unknown"
)

// StallReason says at which stage traffic stands still.
// +kubebuilder:validation:Enum=IngressQueueStalled;ServiceNotAnswering;EgressQueueStalled;RepliesLost;AddressResolutionStalled;HeartbeatsUnheard
type StallReason string

// The reasons of a stall.
const (
	// StallIngressQueue: the filter admits packets, none is delivered on that queue.
	StallIngressQueue StallReason = "IngressQueueStalled"
	// StallServiceNotAnswering: SYNs are delivered, neither SYN-ACK nor RST comes back.
	StallServiceNotAnswering StallReason = "ServiceNotAnswering"
	// StallEgressQueue: a transmit leaf queue holds packets and sends none (Microsoft KB Q228942).
	StallEgressQueue StallReason = "EgressQueueStalled"
	// StallRepliesLost: replies leave, yet no handshake completes here while peers' do.
	StallRepliesLost StallReason = "RepliesLost"
	// StallAddressResolution: ARP or ND requests for a virtual IP are seen, none is answered.
	StallAddressResolution StallReason = "AddressResolutionStalled"
	// StallHeartbeatsUnheard: the host hears peers that do not list it.
	StallHeartbeatsUnheard StallReason = "HeartbeatsUnheard"
)

// LoadBalancingHostSpec is what the controller resolved for one node.
type LoadBalancingHostSpec struct {
	// clusterName is the LoadBalancingCluster; immutable.
	ClusterName string `json:"clusterName"`
	// nodeName is the Kubernetes node; immutable.
	NodeName string `json:"nodeName"`
	// hostID is the host's ID and priority, 1..32.
	HostID int32 `json:"hostID"`
	// desiredState, resolved from the cluster's hosts and the node's maintenance state.
	DesiredState HostState `json:"desiredState,omitempty"`
	// rules holds per-rule settings of this host.
	Rules []HostRule `json:"rules,omitempty"`
}

// HostStall is the verdict on a host whose traffic stands still.
type HostStall struct {
	// reason names the stage.
	Reason StallReason `json:"reason"`
	// queue is the queue that stands still, where there is one.
	Queue string `json:"queue,omitempty"`
	// message holds the evidence with its numbers.
	Message string `json:"message,omitempty"`
	// since is when the verdict fell.
	Since *metav1.Time `json:"since,omitempty"`
}

// HostTraffic counts packets for the virtual IPs by stage since the filter was loaded.
type HostTraffic struct {
	// admitted packets passed the filter.
	Admitted *int64 `json:"admitted,omitempty"`
	// rejected packets belong to another host.
	Rejected *int64 `json:"rejected,omitempty"`
	// invalid packets were malformed, truncated or from no valid source.
	Invalid *int64 `json:"invalid,omitempty"`
	// delivered packets reached the node's network stack.
	Delivered *int64 `json:"delivered,omitempty"`
	// answered packets left the node's network stack.
	Answered *int64 `json:"answered,omitempty"`
	// transmitted packets left the interface, VIP traffic or not.
	Transmitted *int64 `json:"transmitted,omitempty"`
	// completed TCP handshakes.
	Completed *int64 `json:"completed,omitempty"`
	// connections tracked now.
	Connections *int64 `json:"connections,omitempty"`
	// untracked connections were accepted while the table was full.
	Untracked *int64 `json:"untracked,omitempty"`
}

// HostDataplane says what the agent set up on the node.
type HostDataplane struct {
	// interface that carries the virtual IPs.
	Interface string `json:"interface,omitempty"`
	// hook at which the filter runs: XDP or TCX.
	Hook Hook `json:"hook,omitempty"`
	// clusterMAC is the address that clients send to.
	ClusterMAC string `json:"clusterMAC,omitempty"`
	// hostMAC is the interface's own address, the source of all that the host sends.
	HostMAC string `json:"hostMAC,omitempty"`
}

// HostColumns holds the columns of kubectl get that need more than one field.
type HostColumns struct {
	// state in the words of "wlbs query", e.g. "Converged as DEFAULT".
	State string `json:"state,omitempty"`
	// members, comma-separated.
	Members string `json:"members,omitempty"`
	// buckets per rule; one number where all Multiple rules have the same.
	Buckets string `json:"buckets,omitempty"`
	// stalled is False or the reason.
	Stalled string `json:"stalled,omitempty"`
}

// LoadBalancingHostStatus is written by the node's agent alone.
type LoadBalancingHostStatus struct {
	// observedGeneration is the generation of this object's spec that the agent acts on.
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`
	// clusterGeneration is the generation of the LoadBalancingCluster in force on this host.
	ClusterGeneration *int64 `json:"clusterGeneration,omitempty"`
	// offeredClusterGeneration is the newest generation the agent holds; it comes into force when all members hold it.
	OfferedClusterGeneration *int64 `json:"offeredClusterGeneration,omitempty"`
	// state of the host.
	State HostCondition `json:"state,omitempty"`
	// members is the host's view: IDs of the hosts it takes for alive, itself always among them.
	Members []int32 `json:"members,omitempty"`
	// defaultHostID is the member with the lowest host ID.
	DefaultHostID *int32 `json:"defaultHostID,omitempty"`
	// epoch is the number of the view in force.
	Epoch *int64 `json:"epoch,omitempty"`
	// convergences counts how often the host entered the converging state since its agent started.
	Convergences *int64 `json:"convergences,omitempty"`
	// lastConvergence describes the last convergence.
	LastConvergence *ConvergenceRecord `json:"lastConvergence,omitempty"`
	// buckets the host owns, by rule.
	Buckets []RuleBuckets `json:"buckets,omitempty"`
	// stall is set while the host is stalled.
	Stall *HostStall `json:"stall,omitempty"`
	// traffic by stage.
	Traffic HostTraffic `json:"traffic,omitzero"`
	// dataplane says what the agent set up on the node.
	Dataplane HostDataplane `json:"dataplane,omitzero"`
	// renewTime is when the agent last wrote this status; older than leaseSeconds means Unknown.
	RenewTime *metav1.MicroTime `json:"renewTime,omitempty"`
	// leaseSeconds is how long the report holds.
	LeaseSeconds *int32 `json:"leaseSeconds,omitempty"`
	// columns of kubectl get.
	Columns HostColumns `json:"columns,omitzero"`
	// conditions: Ready, Converged, TrafficStalled, ConfigConsistent, DataplaneReady.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// LoadBalancingHost is one node as member of a LoadBalancingCluster. It is named <cluster>.<node>.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=lbh
type LoadBalancingHost struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is written by the controller.
	Spec LoadBalancingHostSpec `json:"spec,omitzero"`
	// status is written by the node's agent.
	Status LoadBalancingHostStatus `json:"status,omitzero"`
}

// LoadBalancingHostList is a list of hosts.
//
// +kubebuilder:object:root=true
type LoadBalancingHostList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []LoadBalancingHost `json:"items"`
}
