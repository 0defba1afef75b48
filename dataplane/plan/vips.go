// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// resolveVIPs finds the virtual IPs that the host serves, of all that the cluster has, and what derives from the
// primary one.
func (p *Plan) resolveVIPs(
	spec *v1alpha1.LoadBalancingClusterSpec, host *v1alpha1.LoadBalancingHostSpec, all []netip.Addr,
) (err error) {
	if len(all) == 0 {
		return errors.New("spec.virtualIPs: at least one is needed")
	}
	p.Primary = all[0]
	p.ClusterMAC = v1alpha1.ClusterMAC(spec.EffectiveMode(), p.Primary)
	p.Group = v1alpha1.ClusterGroup(spec.EffectiveMode(), p.Primary)
	p.HeartbeatMAC = p.ClusterMAC
	if spec.EffectiveMode() == v1alpha1.ModeUnicast { // Microsoft KB Q232711
		p.HeartbeatMAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	p.VIPs, err = servedBy(host, all)
	return err
}

// servedBy returns those of a cluster's virtual IPs that its host serves, in the cluster's order.
func servedBy(host *v1alpha1.LoadBalancingHostSpec, all []netip.Addr) ([]netip.Addr, error) {
	assigned, err := parseVIPs(host.VirtualIPs)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", host.NodeName, err)
	}
	var vips []netip.Addr
	for _, vip := range all {
		if slices.Contains(assigned, vip) {
			vips = append(vips, vip)
		}
	}
	return vips, nil
}

func parseVIPs(list []string) ([]netip.Addr, error) {
	var vips []netip.Addr
	for i, s := range list {
		vip, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("spec.virtualIPs[%d]: %w", i, err)
		}
		if slices.Contains(vips, vip) {
			return nil, fmt.Errorf("spec.virtualIPs[%d]: %s is there twice", i, vip)
		}
		vips = append(vips, vip)
	}
	return vips, nil
}

// virtualIPOf returns the virtual IP that a port rule is for, the zero Addr for all of them.
func virtualIPOf(r *v1alpha1.PortRule) (netip.Addr, error) {
	if r.VirtualIP == "" {
		return netip.Addr{}, nil
	}
	vip, err := netip.ParseAddr(r.VirtualIP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("virtualIP: %w", err)
	}
	return vip, nil
}
