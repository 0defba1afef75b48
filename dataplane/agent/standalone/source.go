// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone/schema"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/internal/hostspec"
)

const (
	// pollInterval is how often the files are looked at.
	pollInterval = 250 * time.Millisecond
	// firstDeliveryLimit is how long the first delivery waits for files that are being written.
	firstDeliveryLimit = 5 * time.Second
)

// Source is a config source that reads LoadBalancingClusters from files. The entries of their spec.hosts name the
// nodes; spec.nodeSelector and spec.tolerations mean nothing here. It refuses what the API server would refuse, and
// whatever is wrong with a file, the last good one stays in force.
type Source struct {
	// Dir is a directory in which each *.yaml and *.yml is a cluster. A cluster whose file is gone for RemovalGrace is
	// removed. Where it is empty, File is the only file; it must not change its cluster's name, and when it is gone the
	// cluster stays.
	Dir, File string
	// Node is this node's name in spec.hosts.
	Node string
	// Last returns the configs that were in force when the last agent on this node ended. They stay so until a file says
	// otherwise. Nil stands for none. Run calls it once.
	Last func() []plan.Config
	// InUse returns the virtual IPs that this node serves for a cluster at this moment: another cluster does not get
	// these. Nil stands for none. It must not block.
	InUse func(cluster string) []string
	// Log gets what is wrong, each thing once.
	Log *slog.Logger
}

// Run delivers everything that this node is a host of, in order of precedence, at first and whenever it changes, until
// ctx ends. It returns an error only if it never had anything to deliver: Dir or File is of no use, and nothing was in
// force last.
func (s *Source) Run(ctx context.Context, deliver func([]plan.Config)) error {
	validator, err := schema.New()
	if err != nil {
		return err
	}
	r := newRun(s, validator)
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for begun := time.Now(); ; {
		now := time.Now()
		l := r.reader.look(now)
		if r.delivered != nil || !l.settling() || now.Sub(begun) >= firstDeliveryLimit {
			if err := r.update(ctx, l, now, deliver); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// run is the state of a Source that runs.
type run struct {
	*Source
	reader   *reader
	clusters *clusters
	assigned assignments
	// hosts are the host objects delivered last, conflicts what each cluster does not get and since when, both by
	// cluster.
	hosts     map[string]*v1alpha1.LoadBalancingHost
	conflicts map[string]metav1.Condition
	// faults are those that were logged, by file.
	faults map[string]string
	// delivered is what was delivered last, nil before the first time.
	delivered []plan.Config
}

func newRun(s *Source, validator *schema.Validator) *run {
	var last []plan.Config
	if s.Last != nil {
		last = s.Last()
	}
	r := &run{
		Source: s, reader: newReader(s.Dir, s.File), clusters: newClusters(validator, s.Dir == "", last),
		assigned: assignments{}, hosts: map[string]*v1alpha1.LoadBalancingHost{}, conflicts: map[string]metav1.Condition{},
		faults: map[string]string{},
	}
	if r.InUse == nil {
		r.InUse = func(string) []string { return nil }
	}
	for _, c := range last {
		if c.Cluster == nil || c.Host == nil {
			continue
		}
		r.hosts[c.Cluster.Name] = c.Host
		for _, vip := range c.Host.Spec.VirtualIPs {
			if r.assigned[vip] == "" {
				r.assigned[vip] = c.Cluster.Name
			}
		}
	}
	return r
}

// update takes a look at the files and delivers what comes of it.
func (r *run) update(ctx context.Context, l look, now time.Time, deliver func([]plan.Config)) error {
	faults := r.clusters.update(ctx, l, now)
	if r.delivered == nil && len(r.clusters.inForce) == 0 && (l.err != nil || r.Dir == "" && len(faults) > 0) {
		return r.unusable(faults)
	}
	faultsChanged := r.report(faults, l)
	if r.delivered != nil && !r.clusters.changed && !faultsChanged && len(r.conflicts) == 0 {
		return nil
	}
	configs := r.configs(now)
	if r.delivered == nil || !reflect.DeepEqual(configs, r.delivered) {
		r.delivered = configs
		deliver(slices.Clone(configs))
	}
	return nil
}

// unusable is why there is nothing to deliver at the start.
func (r *run) unusable(faults map[string]error) error {
	err := errors.Join(slices.Collect(maps.Values(faults))...)
	if r.Dir != "" {
		return fmt.Errorf("config directory %s: %w", r.Dir, err)
	}
	return fmt.Errorf("cluster file %s: %w", r.File, err)
}

// report logs what is wrong with the files, once, and reports whether that changed. A file that is being written may
// still be wrong.
func (r *run) report(faults map[string]error, l look) (changed bool) {
	for file, err := range faults {
		if text := err.Error(); r.faults[file] != text {
			r.faults[file], changed = text, true
			r.Log.Error("Config refused, what was in force stays", "file", r.path(file), "error", text)
		}
	}
	for file := range r.faults {
		settles := slices.ContainsFunc(l.files, func(f found) bool { return f.name == file && f.settling })
		if faults[file] == nil && !settles {
			delete(r.faults, file)
			changed = true
			r.Log.Info("Config in order again, or gone", "file", r.path(file))
		}
	}
	return changed
}

func (r *run) path(file string) string {
	switch {
	case r.Dir == "":
		return r.File
	case file == "":
		return r.Dir
	default:
		return r.Dir + "/" + file
	}
}

// configs returns what this node is a host of.
func (r *run) configs(now time.Time) []plan.Config {
	claims := make([]claim, 0, len(r.clusters.inForce))
	for _, k := range r.clusters.inForce {
		claims = append(claims, claim{cluster: k.config.Name, vips: k.config.Spec.VirtualIPs})
	}
	assigned, conflicts := r.assigned.assign(claims, r.InUse)
	configs := []plan.Config{}
	for _, k := range r.clusters.inForce {
		name := k.config.Name
		host := r.host(k.config, assigned[name])
		if host == nil {
			delete(r.hosts, name)
			continue
		}
		r.hosts[name] = host
		wanted := k.config.DeepCopy()
		wanted.Status = v1alpha1.LoadBalancingClusterStatus{VirtualIPs: assigned[name],
			Conditions: r.conditions(k, conflicts[name], now)}
		configs = append(configs, plan.Config{Cluster: wanted, Host: host, Refused: r.faults[k.file]})
	}
	return configs
}

// host returns the node's host of a cluster, nil if it is none. It is another object than before only if it says
// something else.
func (r *run) host(c *v1alpha1.LoadBalancingCluster, assigned []string) *v1alpha1.LoadBalancingHost {
	var nodes []string
	for i := range c.Spec.Hosts {
		nodes = append(nodes, c.Spec.Hosts[i].NodeName)
	}
	if !slices.Contains(nodes, r.Node) {
		return nil
	}
	id := hostspec.AssignIDs(c.Spec.Hosts, nodes, nil,
		nil).IDs[r.Node] // the schema limits hosts to as many as there are IDs
	host := &v1alpha1.LoadBalancingHost{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LoadBalancingHost"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName(c.Name, r.Node), Generation: 1},
		Spec:       hostspec.Of(c, r.Node, id, assigned),
	}
	if before := r.hosts[c.Name]; before != nil {
		if reflect.DeepEqual(before.Spec, host.Spec) {
			return before
		}
		host.Generation = before.Generation + 1
	}
	return host
}

// conditions says which virtual IPs are not assigned to a cluster, and logs it once.
func (r *run) conditions(k *cluster, conflicts []conflict, now time.Time) []metav1.Condition {
	name := k.config.Name
	if len(conflicts) == 0 {
		if _, was := r.conflicts[name]; was {
			delete(r.conflicts, name)
			r.Log.Info("All virtual IPs are assigned to the cluster", "cluster", name)
		}
		return nil
	}
	parts := make([]string, 0, len(conflicts))
	for _, c := range conflicts {
		parts = append(parts, fmt.Sprintf("virtual IP %s is assigned to cluster %s, which had it first", c.vip, c.assignedTo))
	}
	before, was := r.conflicts[name]
	condition := metav1.Condition{
		Type: v1alpha1.ConditionConfigConsistent, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonVirtualIPConflict,
		Message:            strings.Join(parts, "; ") + ": remove it from one of the two clusters",
		ObservedGeneration: k.config.Generation, LastTransitionTime: metav1.NewTime(now),
	}
	if was {
		condition.LastTransitionTime = before.LastTransitionTime
	}
	if condition.Message != before.Message {
		r.Log.Error("Virtual IP refused", "cluster", name, "file", r.path(k.file), "field", "spec.virtualIPs", "error",
			condition.Message)
	}
	r.conflicts[name] = condition
	var out []metav1.Condition
	meta.SetStatusCondition(&out, condition)
	return out
}
