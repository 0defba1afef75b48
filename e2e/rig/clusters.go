// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// ClusterVIP returns the virtual IP of one of many clusters, 0..99; that of the first is VIP.
func ClusterVIP(i int) netip.Addr {
	b := VIP.As4()
	b[3] += byte(i)
	return netip.AddrFrom4(b)
}

// NewCluster returns a cluster of all hosts, as the rig's first one, with a name and virtual IP of its own.
func (r *Rig) NewCluster(name string, vip netip.Addr) *v1alpha1.LoadBalancingCluster {
	c := r.Cluster.DeepCopy()
	c.Name, c.Spec.VirtualIPs = name, []string{vip.String()}
	return c
}

// Add gives a rig made with Options.Several another cluster, or puts changes of one into force. Agents that run notice
// it.
func (r *Rig) Add(cluster *v1alpha1.LoadBalancingCluster) error {
	return writeCluster(filepath.Join(r.configDir(), cluster.Name+".yaml"), cluster)
}

// Drop takes a cluster away.
func (r *Rig) Drop(name string) error { return os.Remove(filepath.Join(r.configDir(), name+".yaml")) }

// ConvergedIn waits until all hosts are members of one converged view of a cluster, as each of them says.
func (r *Rig) ConvergedIn(ctx context.Context, cluster string) error {
	var want []int32
	for _, h := range r.Hosts {
		want = append(want, int32(h.ID))
	}
	return poll(ctx, func() error {
		for _, h := range r.Hosts {
			is, err := h.QueryIn(ctx, cluster)
			if err != nil {
				return err
			}
			if s := &is.Status; s.State != v1alpha1.HostConverged || !slices.Equal(s.Members, want) {
				return fmt.Errorf("%s is %s with members %v in %s, want Converged with %v", h.Name, s.State, s.Members, cluster,
					want)
			}
		}
		return nil
	})
}

// Gone waits until no host has anything left that names a cluster or its virtual IP.
func (r *Rig) Gone(ctx context.Context, cluster string, vip netip.Addr) error {
	return poll(ctx, func() error {
		var errs []error
		for _, h := range r.Hosts {
			left, err := h.Leftovers()
			if err != nil {
				return err
			}
			for _, l := range left {
				if strings.Contains(l, cluster+"/") || strings.Contains(l, vip.String()+"/") {
					errs = append(errs, fmt.Errorf("%s still has %s", h.Name, l))
				}
			}
		}
		return errors.Join(errs...)
	})
}
