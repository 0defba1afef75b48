// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
)

// Plan is a Config in the terms of the dataplane. It is made by New and not changed afterwards.
type Plan struct {
	// Config is what the plan was made from.
	Config Config
	// ClusterName is the name of the LoadBalancingCluster, NodeName that of the node.
	ClusterName, NodeName string
	// Generation is that of the cluster object, for reports.
	Generation int64
	// Digest stands for everything that all hosts must have in common before they may filter by it. It is never 0.
	Digest uint64

	// HostID is the host's number in the cluster, 1..32.
	HostID uint8
	// DesiredState is the state an operator wants the host to be in.
	DesiredState v1alpha1.DesiredState
	// DrainTimeout is how long a drain may take; 0 is no limit.
	DrainTimeout time.Duration

	// InterfaceName is the cluster's network interface on this node; empty for the one with a route to the first virtual
	// IP.
	InterfaceName string
	// Hook is where the filter attaches.
	Hook v1alpha1.Hook
	// Connections is the size of the table of tracked connections.
	Connections uint32
	// Primary is the first virtual IP of the cluster, whether it is assigned to the cluster or not: what tells clusters
	// apart derives from it.
	Primary netip.Addr
	// VIPs are the virtual IPs that the host serves, in the cluster's order: those that are assigned to it. A host without
	// any does not join the cluster.
	VIPs []netip.Addr
	// ClusterMAC is what the virtual IPs resolve to, HeartbeatMAC where heartbeats go.
	ClusterMAC, HeartbeatMAC net.HardwareAddr
	// Group is joined in IGMPMulticast mode, and the zero Addr otherwise.
	Group netip.Addr

	// Period is the time between two heartbeats; a host that is not heard for Tolerance of them is gone.
	Period    time.Duration
	Tolerance int

	// StallWindow is the time that a stall is looked for in, StallMinPackets how many packets make a verdict possible.
	StallWindow     time.Duration
	StallMinPackets uint64
	// StallEvicts says that a stalled host gives up its buckets.
	StallEvicts bool

	// SlotNames are the names of the port rules by slot: the slots in use are those below its length, and
	// bucket.DefaultSlot.
	SlotNames []string
	// Slots are the policies of the slots, and this host's part in them.
	Slots [bucket.Slots]Slot
	// Rules are the port rules by slot: which packets fall into which slot. What none of them matches falls into
	// bucket.DefaultSlot. A rule for one virtual IP that the host does not serve is among them; no packet falls into its
	// slot.
	Rules []filter.Rule
}

// New resolves what a node is asked to be. Its errors name the cluster or host, and the field at fault. The config must
// not be that of a node that is removed.
func New(c Config) (*Plan, error) {
	spec, host := &c.Cluster.Spec, &c.Host.Spec
	if host.HostID < 1 || host.HostID > v1alpha1.MaxHosts {
		return nil, fmt.Errorf("host %s: hostID %d is not in 1..%d", host.NodeName, host.HostID, v1alpha1.MaxHosts)
	}
	p := &Plan{
		Config:          c,
		ClusterName:     c.Cluster.Name,
		NodeName:        host.NodeName,
		Generation:      c.Cluster.Generation,
		HostID:          uint8(host.HostID),
		DesiredState:    host.EffectiveDesiredState(),
		InterfaceName:   spec.Interface,
		Hook:            spec.Dataplane.EffectiveHook(),
		Connections:     uint32(spec.Dataplane.EffectiveMaxConnections()),
		Period:          spec.Heartbeat.Period(),
		Tolerance:       int(spec.Heartbeat.EffectiveTolerance()),
		StallWindow:     spec.StallDetection.Window(),
		StallMinPackets: uint64(spec.StallDetection.EffectiveMinPackets()),
		StallEvicts:     spec.StallDetection.EffectiveAction() == v1alpha1.StallActionEvict,
	}
	if host.DrainTimeoutSeconds != nil {
		p.DrainTimeout = time.Duration(*host.DrainTimeoutSeconds) * time.Second
	}
	if err := p.resolve(spec, host); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Cluster.Name, err)
	}
	return p, nil
}

func (p *Plan) resolve(spec *v1alpha1.LoadBalancingClusterSpec, host *v1alpha1.LoadBalancingHostSpec) error {
	all, err := parseVIPs(spec.VirtualIPs)
	if err != nil {
		return err
	}
	if err := errors.Join(p.resolveVIPs(spec, host, all), p.resolveRules(spec, host, all)); err != nil {
		return err
	}
	return p.digestAll(spec)
}

// NeedsRestart reports whether the plan asks for more than a host can change while it is a member: it has to leave the
// cluster and to begin anew.
func (p *Plan) NeedsRestart(old *Plan) bool {
	return p.HostID != old.HostID || p.InterfaceName != old.InterfaceName ||
		p.Connections != old.Connections || p.ClusterMAC.String() != old.ClusterMAC.String() || p.Primary != old.Primary
}

// SlotName returns the name of the port rule in a slot that is in use.
func (p *Plan) SlotName(slot int) string {
	if slot == bucket.DefaultSlot {
		return v1alpha1.DefaultRuleName
	}
	return p.SlotNames[slot]
}

// UsedSlots returns the slots of the rules and the default slot, in order.
func (p *Plan) UsedSlots() []int {
	slots := make([]int, 0, len(p.SlotNames)+1)
	for i := range p.SlotNames {
		slots = append(slots, i)
	}
	return append(slots, bucket.DefaultSlot)
}

// StickySlots returns the slots with extended affinity.
func (p *Plan) StickySlots() []int {
	var slots []int
	for slot := range p.SlotNames {
		if p.Slots[slot].Sticky != 0 {
			slots = append(slots, slot)
		}
	}
	return slots
}
