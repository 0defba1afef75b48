// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// change is what a command wants of one node's entry in spec.hosts. Unset fields stay as they are.
type change struct {
	node  string
	state v1alpha1.DesiredState
	// drainTimeoutSeconds goes with state Drained only.
	drainTimeoutSeconds *int32
	rules               map[string]v1alpha1.RuleState
}

// done reports whether a spec already says what the change wants.
func (c *change) done(spec *v1alpha1.LoadBalancingClusterSpec) bool {
	entry := spec.HostConfigOf(c.node)
	if c.state != "" && entry.EffectiveDesiredState() != c.state {
		return false
	}
	if c.drainTimeoutSeconds != nil &&
		(entry.DrainTimeoutSeconds == nil || *entry.DrainTimeoutSeconds != *c.drainTimeoutSeconds) {
		return false
	}
	for rule, state := range c.rules {
		if ruleState(&entry, rule) != state {
			return false
		}
	}
	return true
}

func ruleState(entry *v1alpha1.HostConfig, rule string) v1alpha1.RuleState {
	for i := range entry.Rules {
		if entry.Rules[i].Name == rule {
			return entry.Rules[i].EffectiveState()
		}
	}
	return v1alpha1.RuleStateEnabled
}

// patch is the applied configuration of our field manager: all that it owns, nothing else.
type patch struct {
	cluster *v1alpha1.LoadBalancingCluster
	own     ownership
	entries map[string]*v1alpha1.HostConfig
}

// newPatch starts with what our field manager owns now, at its present values.
func newPatch(cluster *v1alpha1.LoadBalancingCluster) (*patch, error) {
	own, err := ownershipOf(cluster)
	if err != nil {
		return nil, err
	}
	p := &patch{cluster: cluster, own: own, entries: map[string]*v1alpha1.HostConfig{}}
	for i := range cluster.Spec.Hosts {
		h := &cluster.Spec.Hosts[i]
		if own.ours.Has(desiredStatePath(h.NodeName)) {
			p.entry(h.NodeName).DesiredState = h.DesiredState
		}
		if own.ours.Has(drainTimeoutPath(h.NodeName)) {
			p.entry(h.NodeName).DrainTimeoutSeconds = h.DrainTimeoutSeconds
		}
		for j := range h.Rules {
			if r := &h.Rules[j]; own.ours.Has(ruleStatePath(h.NodeName, r.Name)) {
				p.setRule(h.NodeName, r.Name, r.State)
			}
		}
	}
	return p, nil
}

func (p *patch) entry(node string) *v1alpha1.HostConfig {
	if p.entries[node] == nil {
		p.entries[node] = &v1alpha1.HostConfig{NodeName: node}
	}
	return p.entries[node]
}

func (p *patch) setRule(node, rule string, state v1alpha1.RuleState) {
	entry := p.entry(node)
	entry.Rules = slices.DeleteFunc(entry.Rules, func(r v1alpha1.HostRule) bool { return r.Name == rule })
	if state != "" {
		entry.Rules = append(entry.Rules, v1alpha1.HostRule{Name: rule, State: state})
	}
}

// add puts a change in. A default is left out rather than written where no other manager says something else, so that
// a host that was stopped and started again leaves no entry behind.
func (p *patch) add(c *change) {
	if c.state != "" {
		entry := p.entry(c.node)
		entry.DesiredState = c.state
		if c.state == v1alpha1.DesiredStateStarted && !p.own.others.Has(desiredStatePath(c.node)) {
			entry.DesiredState = ""
		}
		if c.state != v1alpha1.DesiredStateDrained {
			entry.DrainTimeoutSeconds = nil
		}
		if c.drainTimeoutSeconds != nil {
			entry.DrainTimeoutSeconds = c.drainTimeoutSeconds
		}
	}
	for rule, state := range c.rules {
		if state == v1alpha1.RuleStateEnabled && !p.own.others.Has(ruleStatePath(c.node, rule)) {
			state = ""
		}
		p.setRule(c.node, rule, state)
	}
}

// takeOver prepares the removal of a drainTimeoutSeconds that another manager set and that only goes with Drained. A
// manager can remove nothing but what it alone owns, and it becomes the only owner by changing the value. It reports
// whether that is needed, in which case it is the whole patch.
func (p *patch) takeOver(changes []change) bool {
	needed := false
	for i := range changes {
		c := &changes[i]
		entry := p.cluster.Spec.HostConfigOf(c.node)
		leaves := c.state != "" && c.state != v1alpha1.DesiredStateDrained
		if leaves && entry.DrainTimeoutSeconds != nil && p.own.others.Has(drainTimeoutPath(c.node)) {
			other := *entry.DrainTimeoutSeconds - 1
			if other < 1 {
				other = *entry.DrainTimeoutSeconds + 1
			}
			p.entry(c.node).DrainTimeoutSeconds = &other
			needed = true
		}
	}
	return needed
}

// body is the patch as the API server takes it. The resource version makes it fail when somebody else, perhaps with
// another kubectl wlbs, wrote since the cluster was read: what we own may not be what it was then.
func (p *patch) body() ([]byte, error) {
	hosts := make([]*v1alpha1.HostConfig, 0, len(p.entries))
	for _, entry := range p.entries {
		if entry.DesiredState == "" && entry.DrainTimeoutSeconds == nil && len(entry.Rules) == 0 {
			continue
		}
		slices.SortFunc(entry.Rules, func(a, b v1alpha1.HostRule) int { return strings.Compare(a.Name, b.Name) })
		hosts = append(hosts, entry)
	}
	slices.SortFunc(hosts, func(a, b *v1alpha1.HostConfig) int { return strings.Compare(a.NodeName, b.NodeName) })
	spec := map[string]any{}
	if len(hosts) > 0 {
		spec["hosts"] = hosts
	}
	body, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       clusterKind,
		"metadata": map[string]any{"name": p.cluster.Name, "uid": p.cluster.UID,
			"resourceVersion": p.cluster.ResourceVersion},
		"spec": spec,
	})
	if err != nil {
		return nil, fmt.Errorf("patch of LoadBalancingCluster %s: %w", p.cluster.Name, err)
	}
	return body, nil
}
