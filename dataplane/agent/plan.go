// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/placement"
)

// plan is a Desired in the terms of the dataplane: everything parsed, every default filled in.
type plan struct {
	// source is what the plan was made from.
	source Desired
	// generation of the cluster object, for reports; digest stands for everything that all
	// hosts must have in common before they may filter by it.
	generation int64
	digest     uint64

	hostID       uint8
	desiredState v1alpha1.DesiredState
	drainTimeout time.Duration // 0 is none

	interfaceName string
	hook          v1alpha1.Hook
	connections   uint32
	vips          []netip.Addr
	clusterMAC    net.HardwareAddr
	heartbeatMAC  net.HardwareAddr
	group         netip.Addr // joined in IGMPMulticast mode, else the zero Addr

	period    time.Duration
	tolerance int

	stallWindow     time.Duration
	stallMinPackets uint64
	stallEvicts     bool

	// slots in use are those below len(slotNames), and the default slot.
	slotNames []string
	slots     [bucket.Slots]slotPlan
	rules     []filter.Rule

	clusterName, nodeName string
}

// slotPlan is one slot's policy, and this host's part in it.
type slotPlan struct {
	mode     placement.Mode
	affinity filter.Affinity
	// digest stands for what decides which packets fall into the slot, and in which bucket.
	digest   uint64
	weight   uint32
	priority uint8
	state    v1alpha1.RuleState
	// sticky is the key of extended affinity, the same on all hosts, and 0 without; stickyFor its time.
	sticky    uint32
	stickyFor time.Duration
}

// newPlan resolves what a node is asked to be. Its errors name the field at fault.
func newPlan(d Desired) (*plan, error) {
	spec, host := &d.Cluster.Spec, &d.Host.Spec
	if host.HostID < 1 || host.HostID > v1alpha1.MaxHosts {
		return nil, fmt.Errorf("host %s: hostID %d is not in 1..%d", host.NodeName, host.HostID, v1alpha1.MaxHosts)
	}
	p := &plan{
		source:          d,
		clusterName:     d.Cluster.Name,
		nodeName:        host.NodeName,
		generation:      d.Cluster.Generation,
		hostID:          uint8(host.HostID),
		desiredState:    host.EffectiveDesiredState(),
		interfaceName:   spec.Interface,
		hook:            spec.Dataplane.EffectiveHook(),
		connections:     uint32(spec.Dataplane.EffectiveMaxConnections()),
		period:          spec.Heartbeat.Period(),
		tolerance:       int(spec.Heartbeat.EffectiveTolerance()),
		stallWindow:     spec.StallDetection.Window(),
		stallMinPackets: uint64(spec.StallDetection.EffectiveMinPackets()),
		stallEvicts:     spec.StallDetection.EffectiveAction() == v1alpha1.StallActionEvict,
	}
	if host.DrainTimeoutSeconds != nil {
		p.drainTimeout = time.Duration(*host.DrainTimeoutSeconds) * time.Second
	}
	if err := errors.Join(p.resolveVIPs(spec), p.resolveRules(spec, host), p.sumUp(spec)); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", d.Cluster.Name, err)
	}
	return p, nil
}

func (p *plan) resolveVIPs(spec *v1alpha1.LoadBalancingClusterSpec) error {
	if len(spec.VirtualIPs) == 0 {
		return errors.New("spec.virtualIPs: at least one is needed")
	}
	for i, s := range spec.VirtualIPs {
		vip, err := netip.ParseAddr(s)
		if err != nil {
			return fmt.Errorf("spec.virtualIPs[%d]: %w", i, err)
		}
		if slices.Contains(p.vips, vip) {
			return fmt.Errorf("spec.virtualIPs[%d]: %s is there twice", i, vip)
		}
		p.vips = append(p.vips, vip)
	}
	p.clusterMAC = v1alpha1.ClusterMAC(spec.EffectiveMode(), p.vips[0])
	p.group = v1alpha1.ClusterGroup(spec.EffectiveMode(), p.vips[0])
	p.heartbeatMAC = p.clusterMAC
	if spec.EffectiveMode() == v1alpha1.ModeUnicast { // Microsoft KB Q232711
		p.heartbeatMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	return nil
}

func (p *plan) resolveRules(spec *v1alpha1.LoadBalancingClusterSpec, host *v1alpha1.LoadBalancingHostSpec) error {
	rules := spec.EffectivePortRules()
	if len(rules) > v1alpha1.MaxPortRules {
		return fmt.Errorf("spec.portRules: %d rules, at most %d are possible", len(rules), v1alpha1.MaxPortRules)
	}
	for slot := range rules {
		r := &rules[slot]
		rule, err := p.filterRule(r, slot)
		if err != nil {
			return fmt.Errorf("spec.portRules[%d] (%s): %w", slot, r.Name, err)
		}
		mine := host.Rule(r.Name)
		p.rules = append(p.rules, rule)
		p.slotNames = append(p.slotNames, r.Name)
		p.slots[slot] = slotPlan{
			mode:     placementMode(r.FilteringMode),
			affinity: filterAffinity(r.Affinity),
			weight:   uint32(*mine.LoadWeight),
			priority: handlingOrder(mine.HandlingPriority, host.HostID),
			state:    mine.State,
		}
		if r.AffinityTimeoutSeconds != nil && r.FilteringMode == v1alpha1.FilteringModeMultiple && r.Affinity != v1alpha1.AffinityNone {
			p.slots[slot].stickyFor = time.Duration(*r.AffinityTimeoutSeconds) * time.Second
		}
	}
	p.slots[bucket.DefaultSlot] = slotPlan{
		mode:     placement.Multiple,
		affinity: filter.AffinitySingle,
		weight:   uint32(v1alpha1.DefaultLoadWeight),
		priority: handlingOrder(nil, host.HostID),
		state:    v1alpha1.RuleStateEnabled,
	}
	return nil
}

// handlingOrder is a host's place in a Single rule as heartbeats carry it: 0..31 for the handling priorities 1..32, then hosts
// without one by their IDs.
func handlingOrder(priority *int32, hostID int32) uint8 {
	if priority == nil {
		return uint8(v1alpha1.MaxHosts + hostID - 1)
	}
	return uint8(*priority - 1)
}

func (p *plan) filterRule(r *v1alpha1.PortRule, slot int) (filter.Rule, error) {
	rule := filter.Rule{
		From: uint16(r.Ports.From),
		To:   uint16(r.Ports.To),
		TCP:  r.Protocol != v1alpha1.ProtocolUDP,
		UDP:  r.Protocol != v1alpha1.ProtocolTCP,
		Slot: uint8(slot),
	}
	if r.Ports.From < 0 || r.Ports.To > 65535 || r.Ports.From > r.Ports.To {
		return rule, fmt.Errorf("ports %d-%d are no range within 0-65535", r.Ports.From, r.Ports.To)
	}
	if r.VirtualIP == "" {
		return rule, nil
	}
	vip, err := netip.ParseAddr(r.VirtualIP)
	if err != nil {
		return rule, fmt.Errorf("virtualIP: %w", err)
	}
	if !slices.Contains(p.vips, vip) {
		return rule, fmt.Errorf("virtualIP %s is not in spec.virtualIPs", vip)
	}
	rule.VIP = vip
	return rule, nil
}

// sumUp computes the digests of what all hosts must have in common. Settings of single
// hosts are not in them: they travel in heartbeats and may differ.
func (p *plan) sumUp(spec *v1alpha1.LoadBalancingClusterSpec) error {
	var err error
	if p.digest, err = digest(spec.EffectiveMode(), p.vips, spec.EffectivePortRules(), p.period, p.tolerance); err != nil {
		return err
	}
	for slot := range p.slotNames {
		if p.slots[slot].digest, err = digest(p.vips, p.packetsOf(slot), p.slots[slot].affinity); err != nil {
			return err
		}
	}
	p.keyRules()
	p.slots[bucket.DefaultSlot].digest, err = digest(p.vips, p.rules)
	return err
}

// keyRules gives a key to each rule with extended affinity, by what falls into it: clients stay where they are when rules
// only change places. All hosts come to the same keys.
func (p *plan) keyRules() {
	used := map[uint32]bool{0: true}
	for slot := range p.slotNames {
		s := &p.slots[slot]
		if s.stickyFor == 0 {
			continue
		}
		for s.sticky = uint32(s.digest); used[s.sticky]; {
			s.sticky++
		}
		used[s.sticky] = true
	}
}

// packetsOf returns the rules that decide which packets fall into a slot: its own, and those
// for one virtual IP that take some away from a rule for all.
func (p *plan) packetsOf(slot int) []filter.Rule {
	own := p.rules[slot]
	own.Slot = 0 // a rule that only moved in the list is the same
	rules := []filter.Rule{own}
	for _, r := range p.rules {
		if !own.VIP.IsValid() && r.VIP.IsValid() && r.From <= own.To && own.From <= r.To {
			r.Slot = 0
			rules = append(rules, r)
		}
	}
	return rules
}

// digest returns a hash of its arguments that is not 0.
func digest(of ...any) (uint64, error) {
	content, err := json.Marshal(of)
	if err != nil {
		return 0, fmt.Errorf("digest: %w", err)
	}
	sum := sha256.Sum256(content)
	return max(binary.BigEndian.Uint64(sum[:]), 1), nil
}

// key returns a short name for what its arguments name together; never 0.
func key(of ...string) uint32 {
	h := fnv.New32a()
	for _, s := range of {
		_, _ = h.Write(append([]byte(s), 0)) // a hash takes everything
	}
	return max(h.Sum32(), 1)
}

// hostKey stands for the node, clusterKey for the cluster.
func (p *plan) hostKey() uint32    { return key(p.nodeName) }
func (p *plan) clusterKey() uint32 { return key(p.clusterName, p.vips[0].String()) }

// needsNewNode reports whether the plan asks for more than an agent can change while it is a member.
func (p *plan) needsNewNode(old *plan) bool {
	return p.hostID != old.hostID || p.interfaceName != old.interfaceName || p.hook != old.hook ||
		p.connections != old.connections || p.clusterMAC.String() != old.clusterMAC.String() || p.vips[0] != old.vips[0]
}

// policy is the plan in the terms of convergence.
func (p *plan) policy() convergence.Policy {
	policy := convergence.Policy{Generation: p.generation, Digest: p.digest, RuleCount: len(p.slotNames)}
	for _, slot := range p.usedSlots() {
		s := &p.slots[slot]
		policy.Slots[slot] = convergence.SlotPolicy{
			Mode: s.mode, Digest: s.digest, Weight: s.weight, Priority: s.priority, State: heartbeatState(s.state), Name: p.slotName(slot),
		}
	}
	return policy
}

// settings is what convergence needs of the plan once. hostAddr is the node's own address on the interface.
func (p *plan) settings(hostAddr netip.Addr, incarnation uint64, hostCode uint32) convergence.Settings {
	s := convergence.Settings{
		HostID:      p.hostID,
		HostKey:     p.hostKey(),
		HostCode:    hostCode,
		Incarnation: incarnation,
		ClusterKey:  p.clusterKey(),
		HostName:    p.nodeName,
		Period:      p.period,
		Tolerance:   p.tolerance,
	}
	if p.vips[0].Is4() {
		s.ClusterIP = p.vips[0].As4()
	}
	if hostAddr.Is4() {
		s.HostIP = hostAddr.As4()
	}
	return s
}

// desired is the state that the plan wants the host to be in.
func (p *plan) desired() convergence.AdminState {
	switch p.desiredState {
	case v1alpha1.DesiredStateStopped:
		return convergence.Stopped
	case v1alpha1.DesiredStateSuspended:
		return convergence.Suspended
	case v1alpha1.DesiredStateDrained:
		return convergence.Drained
	default:
		return convergence.Started
	}
}

// table is what the filter shall do by this plan and the buckets that convergence gave the host. mayHold says that the host
// may keep clients by extended affinity.
func (p *plan) table(d *convergence.Decision, mayHold bool) filter.Table {
	t := filter.Table{Epoch: uint64(d.Epoch), VIPs: p.vips, Rules: p.rules}
	for _, slot := range p.usedSlots() {
		s := &p.slots[slot]
		t.Slots[slot] = filter.Slot{Filter: filterMode(s), Affinity: s.affinity, Own: d.Accept[slot], Busy: d.Busy[slot]}
		if s.holds(mayHold, d.Accept[slot]) {
			t.Slots[slot].Sticky, t.Slots[slot].StickyFor = s.sticky, s.stickyFor
		}
	}
	return t
}

// holds reports whether extended affinity works in a slot. Who takes no new connections holds nobody; but as long as it has
// buckets, it leaves the clients of others alone.
func (s *slotPlan) holds(mayHold bool, own bucket.Map) bool {
	return s.sticky != 0 && (own != 0 || mayHold && s.state == v1alpha1.RuleStateEnabled && s.weight > 0)
}

// stickySlots are those with extended affinity.
func (p *plan) stickySlots() []int {
	var slots []int
	for slot := range p.slotNames {
		if p.slots[slot].sticky != 0 {
			slots = append(slots, slot)
		}
	}
	return slots
}

func (p *plan) slotName(slot int) string {
	if slot == bucket.DefaultSlot {
		return v1alpha1.DefaultRuleName
	}
	return p.slotNames[slot]
}

// usedSlots returns the slots of the rules and the default slot, in order.
func (p *plan) usedSlots() []int {
	slots := make([]int, 0, len(p.slotNames)+1)
	for i := range p.slotNames {
		slots = append(slots, i)
	}
	return append(slots, bucket.DefaultSlot)
}

func placementMode(m v1alpha1.FilteringMode) placement.Mode {
	switch m {
	case v1alpha1.FilteringModeSingle:
		return placement.Single
	case v1alpha1.FilteringModeDisabled:
		return placement.Disabled
	default:
		return placement.Multiple
	}
}

// filterMode lets nothing in where the rule is disabled, for all hosts or for this one.
func filterMode(s *slotPlan) filter.Mode {
	switch {
	case s.mode == placement.Disabled || s.state == v1alpha1.RuleStateDisabled:
		return filter.ModeDisabled
	case s.mode == placement.Single:
		return filter.ModeSingle
	default:
		return filter.ModeMultiple
	}
}

func heartbeatState(s v1alpha1.RuleState) heartbeat.RuleState {
	switch s {
	case v1alpha1.RuleStateDisabled:
		return heartbeat.Disabled
	case v1alpha1.RuleStateDrained:
		return heartbeat.Drained
	default:
		return heartbeat.Enabled
	}
}

func filterAffinity(a v1alpha1.Affinity) filter.Affinity {
	switch a {
	case v1alpha1.AffinityNone:
		return filter.AffinityNone
	case v1alpha1.AffinityNetwork:
		return filter.AffinityNetwork
	default:
		return filter.AffinitySingle
	}
}
