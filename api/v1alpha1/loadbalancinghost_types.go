// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HostState is the state a host is in, after the states that "wlbs query" prints.
// +kubebuilder:validation:Enum=Converging;Converged;Draining;Stopped;Suspended;Excluded;Disconnected;Unknown
type HostState string

// The states of a host.
const (
	// HostConverging means that the host and its peers do not agree on view, config and maps yet.
	HostConverging HostState = "Converging"
	// HostConverged means that all members of the host's view agree with it.
	HostConverged HostState = "Converged"
	// HostDraining means that the host takes no new connections and leaves when the last one ends.
	HostDraining HostState = "Draining"
	// HostStopped means that the host is no member.
	HostStopped HostState = "Stopped"
	// HostSuspended means that the host is stopped and refuses control commands.
	HostSuspended HostState = "Suspended"
	// HostExcluded means that live peers serve without this host; it has released everything.
	HostExcluded HostState = "Excluded"
	// HostDisconnected means that the host's interface has no carrier (WLBS_MEDIA_DISCONNECTED); it has released everything.
	HostDisconnected HostState = "Disconnected"
	// HostUnknown means that the host's report is older than its lease, or that its peers dropped the host since.
	HostUnknown HostState = "Unknown"
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

// MaintenanceReason says what about a node makes its host drain.
// +kubebuilder:validation:Enum=NodeExcluded;NodeDeleted;NodeNotSelected
type MaintenanceReason string

// The reasons of a drain for the node's sake.
const (
	// MaintenanceNodeExcluded: the node has the label node.kubernetes.io/exclude-from-external-load-balancers. The host
	// stays, drained, and serves again when the label is gone.
	MaintenanceNodeExcluded MaintenanceReason = "NodeExcluded"
	// MaintenanceNodeDeleted: the node is deleted, being deleted, or about to be (taint ToBeDeletedByClusterAutoscaler).
	MaintenanceNodeDeleted MaintenanceReason = "NodeDeleted"
	// MaintenanceNodeNotSelected: the node left spec.nodeSelector of the cluster, or has a taint NoExecute that
	// spec.tolerations does not tolerate. The host is removed when it is drained.
	MaintenanceNodeNotSelected MaintenanceReason = "NodeNotSelected"
)

// HostMaintenance says why and since when the controller drains a host for its node's sake.
type HostMaintenance struct {
	// reason says what about the node makes the host drain.
	// +required
	Reason MaintenanceReason `json:"reason,omitempty"`

	// since is when the controller noticed that.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// LoadBalancingHostSpec is what the controller resolved for one node.
// +kubebuilder:validation:XValidation:rule="self.clusterName == oldSelf.clusterName",message="clusterName is immutable: delete this LoadBalancingHost, the controller creates those that are needed"
// +kubebuilder:validation:XValidation:rule="self.nodeName == oldSelf.nodeName",message="nodeName is immutable: delete this LoadBalancingHost, the controller creates those that are needed"
type LoadBalancingHostSpec struct {
	// clusterName is the name of the LoadBalancingCluster; immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	ClusterName string `json:"clusterName,omitempty"`

	// nodeName is the name of the Kubernetes node; immutable.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	NodeName string `json:"nodeName,omitempty"`

	// hostID is the host's ID and priority, 1 to 32 and unique in the cluster.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	HostID int32 `json:"hostID,omitempty"`

	// virtualIPs are those of the cluster's spec.virtualIPs that are assigned to it: no other cluster has them, and no node
	// had one as its own address. The host serves no others; without any it is no member.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=45
	VirtualIPs []string `json:"virtualIPs,omitempty"`

	// desiredState is the state of the node's entry in the cluster's spec.hosts, or Drained while maintenance is set.
	// Defaults to Started.
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// drainTimeoutSeconds bounds a drain: what is connected then is cut. Unset waits for the last connection to end.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=86400
	DrainTimeoutSeconds *int32 `json:"drainTimeoutSeconds,omitempty"`

	// maintenance says why the controller drains the host although the cluster's spec.hosts does not ask for it; unset otherwise.
	// +optional
	Maintenance *HostMaintenance `json:"maintenance,omitempty"`

	// rules holds the host's settings of port rules, from the node's entry in the cluster's spec.hosts.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Rules []HostRule `json:"rules,omitempty"`
}

// HostStall is the verdict on a host whose traffic stands still.
type HostStall struct {
	// reason names the stage at which traffic stands still.
	// +required
	Reason StallReason `json:"reason,omitempty"`

	// queue is the queue that stands still, where there is one, for instance rx-3 or class 1:10.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Queue string `json:"queue,omitempty"`

	// message holds the evidence with its numbers.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`

	// since is when the verdict fell.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
}

// RuleTraffic counts the packets of one port rule that the filter decided about.
type RuleTraffic struct {
	// rule is the name of the port rule, or default for the ports that no rule covers.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Rule string `json:"rule,omitempty"`

	// accepted counts packets that the filter accepted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Accepted *int64 `json:"accepted,omitempty"`

	// dropped counts packets that the filter left to another host, or that no host may have.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Dropped *int64 `json:"dropped,omitempty"`

	// opened counts TCP connection requests among those accepted, repeated ones included.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Opened *int64 `json:"opened,omitempty"`
}

// HostTraffic counts packets for the virtual IPs by stage since the filter was loaded.
// +kubebuilder:validation:MinProperties=1
type HostTraffic struct {
	// admitted counts packets that the filter accepted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Admitted *int64 `json:"admitted,omitempty"`

	// rejected counts packets that belong to another host.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Rejected *int64 `json:"rejected,omitempty"`

	// invalid counts packets that were malformed, truncated or from no valid source.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Invalid *int64 `json:"invalid,omitempty"`

	// delivered counts packets that reached the node's network stack.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Delivered *int64 `json:"delivered,omitempty"`

	// answered counts packets from a virtual IP that left the node's network stack.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Answered *int64 `json:"answered,omitempty"`

	// transmitted counts packets that left the interface, from a virtual IP or not.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Transmitted *int64 `json:"transmitted,omitempty"`

	// completed counts TCP handshakes that the clients finished.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Completed *int64 `json:"completed,omitempty"`

	// connections is the number of connections tracked now.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Connections *int64 `json:"connections,omitempty"`

	// untracked counts connections that were accepted while the table of tracked ones was full.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Untracked *int64 `json:"untracked,omitempty"`

	// rules counts packets by port rule. A rule that is changed goes on counting under its name as long as the agent runs.
	// +optional
	// +listType=map
	// +listMapKey=rule
	// +kubebuilder:validation:MaxItems=64
	Rules []RuleTraffic `json:"rules,omitempty"`
}

// HostDataplane says what the agent set up on the node.
// +kubebuilder:validation:MinProperties=1
type HostDataplane struct {
	// interface is the name of the network interface that carries the virtual IPs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=15
	Interface string `json:"interface,omitempty"`

	// virtualIPs are those in force on the host, the primary one first.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=2
	// +kubebuilder:validation:items:MaxLength=45
	VirtualIPs []string `json:"virtualIPs,omitempty"`

	// hook is where the filter runs: XDP, TCX or Clsact.
	// +optional
	Hook Hook `json:"hook,omitempty"`

	// clusterMAC is the address that clients send to.
	// +optional
	// +kubebuilder:validation:MinLength=17
	// +kubebuilder:validation:MaxLength=17
	ClusterMAC string `json:"clusterMAC,omitempty"`

	// hostMAC is the interface's own address, the source of all that the host sends.
	// +optional
	// +kubebuilder:validation:MinLength=17
	// +kubebuilder:validation:MaxLength=17
	HostMAC string `json:"hostMAC,omitempty"`
}

// HostColumns holds the columns of kubectl get that need more than one field.
// +kubebuilder:validation:MinProperties=1
type HostColumns struct {
	// state is the host's state in the words of "wlbs query", for instance "Converged as DEFAULT".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	State string `json:"state,omitempty"`

	// members are the IDs of the host's view, comma-separated.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=127
	Members string `json:"members,omitempty"`

	// buckets are the numbers of buckets per rule; one number where all rules with filteringMode Multiple have the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Buckets string `json:"buckets,omitempty"`

	// stalled is False or the reason of the stall.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Stalled string `json:"stalled,omitempty"`
}

// LoadBalancingHostStatus is written by the node's agent. Only when the agent's lease runs out, or its peers agree that the
// host is gone, does the controller set state, columns and the conditions to Unknown, as Kubernetes does with nodes
// whose kubelet is silent.
// +kubebuilder:validation:MinProperties=1
type LoadBalancingHostStatus struct {
	// conditions are Ready, Converged, TrafficStalled, ConfigConsistent, DataplaneReady and ConnectionTableFull.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of this object's spec that the agent acts on.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ObservedGeneration *int64 `json:"observedGeneration,omitempty"`

	// clusterGeneration is the generation of the LoadBalancingCluster in force on this host.
	// +optional
	// +kubebuilder:validation:Minimum=0
	ClusterGeneration *int64 `json:"clusterGeneration,omitempty"`

	// offeredClusterGeneration is the newest generation of the LoadBalancingCluster that the agent holds; it comes into
	// force when all members hold it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OfferedClusterGeneration *int64 `json:"offeredClusterGeneration,omitempty"`

	// state is the state that the host is in.
	// +optional
	State HostState `json:"state,omitempty"`

	// members is the host's view: IDs of the hosts it takes for alive, itself always among them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=32
	Members []int32 `json:"members,omitempty"`

	// defaultHostID is the lowest host ID in the view: the member that serves the ports no rule covers.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	DefaultHostID *int32 `json:"defaultHostID,omitempty"`

	// epoch is the number of the view in force; it grows by every convergence.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Epoch *int64 `json:"epoch,omitempty"`

	// convergences counts how often the host entered the converging state since its agent started.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Convergences *int64 `json:"convergences,omitempty"`

	// lastConvergence describes the last convergence.
	// +optional
	LastConvergence *ConvergenceRecord `json:"lastConvergence,omitempty"`

	// buckets lists the buckets whose clients the host serves, by rule.
	// +optional
	// +listType=map
	// +listMapKey=rule
	// +kubebuilder:validation:MaxItems=64
	Buckets []RuleBuckets `json:"buckets,omitempty"`

	// stall is the verdict on the host's traffic; unset while it flows or rests.
	// +optional
	Stall *HostStall `json:"stall,omitempty"`

	// traffic counts packets for the virtual IPs by stage since the filter was loaded.
	// +optional
	Traffic HostTraffic `json:"traffic,omitzero"`

	// dataplane says what the agent set up on the node.
	// +optional
	Dataplane HostDataplane `json:"dataplane,omitzero"`

	// renewTime is when the agent last wrote this status, by the node's clock. A report older than leaseSeconds is Unknown.
	// +optional
	RenewTime *metav1.MicroTime `json:"renewTime,omitempty"`

	// leaseSeconds is how long the report is valid after renewTime.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=3600
	LeaseSeconds *int32 `json:"leaseSeconds,omitempty"`

	// columns holds the columns of kubectl get that need more than one field.
	// +optional
	Columns HostColumns `json:"columns,omitzero"`
}

// LoadBalancingHost is one node as member of a LoadBalancingCluster. The controller creates it, named <cluster>.<node>.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=lbh,categories=wlbs
// +kubebuilder:selectablefield:JSONPath=".spec.clusterName"
// +kubebuilder:selectablefield:JSONPath=".spec.nodeName"
// +kubebuilder:printcolumn:name="ID",type="integer",JSONPath=".spec.hostID",description="Host ID and priority"
// +kubebuilder:printcolumn:name="State",type="string",JSONPath=".status.columns.state",description="State of the host"
// +kubebuilder:printcolumn:name="Maintenance",type="string",JSONPath=".spec.maintenance.reason",description="Why the host is drained for its node's sake"
// +kubebuilder:printcolumn:name="Members",type="string",JSONPath=".status.columns.members",description="Hosts in this host's view"
// +kubebuilder:printcolumn:name="Buckets",type="string",JSONPath=".status.columns.buckets",description="Buckets of 60 whose clients the host serves"
// +kubebuilder:printcolumn:name="Stalled",type="string",JSONPath=".status.columns.stalled",description="False, or why traffic stands still"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp",description="Time since creation"
// +kubebuilder:printcolumn:name="Node",type="string",priority=1,JSONPath=".spec.nodeName",description="Kubernetes node"
// +kubebuilder:printcolumn:name="Interface",type="string",priority=1,JSONPath=".status.dataplane.interface",description="Interface that carries the virtual IPs"
// +kubebuilder:printcolumn:name="Hook",type="string",priority=1,JSONPath=".status.dataplane.hook",description="Where the filter runs"
// +kubebuilder:printcolumn:name="Epoch",type="integer",priority=1,JSONPath=".status.epoch",description="Number of the view in force"
// +kubebuilder:printcolumn:name="Convergences",type="integer",priority=1,JSONPath=".status.convergences",description="Convergences since the agent started"
// +kubebuilder:printcolumn:name="Renewed",type="date",priority=1,JSONPath=".status.renewTime",description="Time since the agent's last report"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.startsWith(self.spec.clusterName + '.')",message="a LoadBalancingHost is named <cluster>.<node>; the controller creates it"
type LoadBalancingHost struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the controller resolved for the node.
	// +required
	Spec LoadBalancingHostSpec `json:"spec,omitzero"`

	// status is what the node's agent reports.
	// +optional
	Status LoadBalancingHostStatus `json:"status,omitzero"`
}

// LoadBalancingHostList is a list of hosts.
//
// +kubebuilder:object:root=true
type LoadBalancingHostList struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard metadata of the list.
	// +optional
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the hosts.
	Items []LoadBalancingHost `json:"items"`
}
