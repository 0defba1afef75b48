// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// Cleanup removes what agents left on this node, of one cluster, or of all if cluster is "": filter, addresses, MAC
// filters, groups, files. It does so without an agent, and is an error while one runs.
func Cleanup(ctx context.Context, config Config, cluster string) error {
	// Directories have the clusters' names: another one might lead out of the agent's.
	if problems := validation.IsDNS1123Subdomain(cluster); cluster != "" && len(problems) > 0 {
		return fmt.Errorf("%q is no name of a cluster: %s", cluster, problems[0])
	}
	lock, err := tryLock(config.StateDir, config.BPFFSDir, config.Owner)
	if err != nil {
		return err
	}
	defer lock.release()
	a := newAgent(config)
	a.registerSaved()
	if cluster != "" {
		return a.cleanUp(ctx, cluster)
	}
	names, err := savedClusters(config.StateDir)
	errs := []error{err}
	for _, name := range names {
		errs = append(errs, a.cleanUp(ctx, name))
	}
	marked, err := hostnet.VIPs(ctx) // nothing is saved of them any more
	return errors.Join(append(errs, err, hostnet.RemoveVIPs(ctx, marked), filter.Cleanup(config.BPFFSDir))...)
}

// cleanUp leaves nothing of a cluster whose host is not running. What others need stays.
func (a *agent) cleanUp(ctx context.Context, cluster string) error {
	err := errors.Join(a.claims.Drop(ctx, cluster), a.interfaces.removeFilter(cluster))
	if err == nil {
		err = a.store(cluster).remove()
	}
	if err != nil {
		return fmt.Errorf("cleanup of cluster %s: %w", cluster, err)
	}
	return nil
}

// registerSaved registers what the hosts of an earlier agent need of the node, and returns their configs, by creation
// time and name.
func (a *agent) registerSaved() []plan.Config {
	return eachSaved(a.StateDir, a.Log, func(name string, saved host.Saved) { a.claims.Register(name, needsOf(saved)) })
}

// LastConfigs returns what an earlier agent on this node was asked to be last, in order of precedence.
func LastConfigs(stateDir string, log *slog.Logger) []plan.Config {
	return eachSaved(stateDir, log, func(string, host.Saved) {})
}

func eachSaved(stateDir string, log *slog.Logger, visit func(name string, saved host.Saved)) []plan.Config {
	names, err := savedClusters(stateDir)
	if err != nil {
		log.Error("Last configs lost, waiting for the source", "error", err)
	}
	var configs []plan.Config
	for _, name := range names {
		saved := newStore(stateDir, name, log).Load()
		if saved.Config.Removed() {
			continue
		}
		configs = append(configs, saved.Config)
		visit(name, saved)
	}
	slices.SortStableFunc(configs, func(x, y plan.Config) int {
		return x.Cluster.CreationTimestamp.Compare(y.Cluster.CreationTimestamp.Time)
	})
	return configs
}

// needsOf returns what a host may have set up by the configs that it saved.
func needsOf(saved host.Saved) hostnet.Needs {
	var needs hostnet.Needs
	configs := []plan.Config{saved.Config}
	if saved.InForce != nil {
		configs = append(configs, *saved.InForce)
	}
	for _, c := range configs {
		p, err := plan.New(c)
		if err != nil {
			continue
		}
		if iface, err := hostnet.FindInterface(p.InterfaceName, p.Primary); err == nil && needs.Interface.Index == 0 {
			needs.Interface = iface
		}
		for _, vip := range p.VIPs {
			if !slices.Contains(needs.VIPs, vip) {
				needs.VIPs = append(needs.VIPs, vip)
			}
		}
		needs.MACs = []net.HardwareAddr{p.ClusterMAC}
		needs.Groups = groupsOf(p)
	}
	return needs
}

func groupsOf(p *plan.Plan) []netip.Addr {
	if !p.Group.IsValid() {
		return nil
	}
	return []netip.Addr{p.Group}
}
