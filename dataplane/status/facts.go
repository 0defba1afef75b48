// SPDX-License-Identifier: Apache-2.0

// Package status turns what a host knows of itself into what people read: a
// LoadBalancingHostStatus with its conditions.
//
// The package is pure. Facts is a value, Report the status that follows from it.
package status

import (
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
)

// Facts is what a host knows of itself at one moment.
type Facts struct {
	// Now is the wall clock; conditions that change get it as their transition time.
	Now time.Time
	// Before are the conditions of the last report, whose transition times go on.
	Before []metav1.Condition

	// HostID is the host's, 1..32; HostGeneration that of its LoadBalancingHost.
	HostID         uint8
	HostGeneration int64
	// OfferedGeneration is that of the newest config the host can work by; InForceGeneration that of the one the
	// filter works by, nil before the first commit.
	OfferedGeneration int64
	InForceGeneration *int64

	// View is what convergence reports.
	View *convergence.View
	// ConvergenceStarted is the wall clock of View.Started.
	ConvergenceStarted time.Time
	// ClientListsMissing says that the last convergence finished without the lists of clients with extended affinity
	// of all members.
	ClientListsMissing bool

	// Rules are the port rules in force, in the order of their slots, the default rule last.
	Rules []Rule
	// Traffic has the host's counters.
	Traffic Traffic
	// Dataplane says where the host stands on its node.
	Dataplane Dataplane

	// Stall is where traffic stands still; an empty Reason means that it does not.
	Stall Stall
	// TableFull explains that the connection table is full; "" means that it has room.
	TableFull string
	// Refused are virtual IPs that the host does not serve, for they are the node's own addresses.
	Refused []Refused
	// ConfigError is why the newest config is not used.
	ConfigError error
	// SendError is why the last heartbeat did not leave.
	SendError error
	// Ended is why the agent ends for good, "" while it goes on.
	Ended string
}

// Rule is a port rule in force: what this host owns of it, and what the filter counted for it.
type Rule struct {
	// Name as people call it.
	Name string
	// Own are the buckets that this host owns.
	Own bucket.Map
	// Accepted and Dropped count packets, Opened the TCP SYNs among those accepted.
	Accepted, Dropped, Opened uint64
}

// Traffic are a host's counters, as HostTraffic documents them.
type Traffic struct {
	Admitted, Rejected, Invalid, Delivered, Answered, Transmitted, Completed, Untracked uint64
	// Connections is how many are tracked now.
	Connections int
}

// Dataplane says where a host stands on its node.
type Dataplane struct {
	// Interface carries the virtual IPs, HostMAC is its own address.
	Interface, HostMAC string
	// VirtualIPs are those in force on the host.
	VirtualIPs []netip.Addr
	// Hook is where the filter stands, WishedHook where the cluster wants it.
	Hook, WishedHook v1alpha1.Hook
	// ClusterMAC is the cluster's address on the segment.
	ClusterMAC string
}

// Stall is a verdict about traffic that stands still.
type Stall struct {
	Reason v1alpha1.StallReason
	// Queue that stands still, "" where there is none; Message has the evidence.
	Queue, Message string
	// Since is when the verdict fell.
	Since time.Time
}

// Refused is a virtual IP that is an address of the node itself.
type Refused struct {
	VirtualIP netip.Addr
	// Interface of the node that has the address.
	Interface string
}
