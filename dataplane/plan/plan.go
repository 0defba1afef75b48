// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
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

	// InterfaceName is the cluster's network interface on this node; empty for the one with a route to the first virtual IP.
	InterfaceName string
	// Hook is where the filter attaches.
	Hook v1alpha1.Hook
	// Connections is the size of the table of tracked connections.
	Connections uint32
	// VIPs are the virtual IPs that the host serves, the primary one first; there is at least one.
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

	// SlotNames are the names of the port rules by slot: the slots in use are those below its length, and bucket.DefaultSlot.
	SlotNames []string
	// Slots are the policies of the slots, and this host's part in them.
	Slots [bucket.Slots]Slot
	// Rules say which packets fall into which slot; what none of them matches falls into bucket.DefaultSlot.
	Rules []filter.Rule
}

// New resolves what a node is asked to be. Its errors name the cluster or host, and the field at fault. The config must not be
// that of a node that is removed.
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
	if err := errors.Join(p.resolveVIPs(spec), p.resolveRules(spec, host), p.digestAll(spec)); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Cluster.Name, err)
	}
	return p, nil
}

func (p *Plan) resolveVIPs(spec *v1alpha1.LoadBalancingClusterSpec) error {
	if len(spec.VirtualIPs) == 0 {
		return errors.New("spec.virtualIPs: at least one is needed")
	}
	for i, s := range spec.VirtualIPs {
		vip, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("spec.virtualIPs[%d]: %w", i, err)
		}
		if slices.Contains(p.VIPs, vip) {
			return fmt.Errorf("spec.virtualIPs[%d]: %s is there twice", i, vip)
		}
		p.VIPs = append(p.VIPs, vip)
	}
	p.ClusterMAC = v1alpha1.ClusterMAC(spec.EffectiveMode(), p.VIPs[0])
	p.Group = v1alpha1.ClusterGroup(spec.EffectiveMode(), p.VIPs[0])
	p.HeartbeatMAC = p.ClusterMAC
	if spec.EffectiveMode() == v1alpha1.ModeUnicast { // Microsoft KB Q232711
		p.HeartbeatMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return nil
}

// NeedsRestart reports whether the plan asks for more than a host can change while it is a member: it has to leave the cluster
// and to begin anew.
func (p *Plan) NeedsRestart(old *Plan) bool {
	return p.HostID != old.HostID || p.InterfaceName != old.InterfaceName || p.Hook != old.Hook ||
		p.Connections != old.Connections || p.ClusterMAC.String() != old.ClusterMAC.String() || p.VIPs[0] != old.VIPs[0]
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
