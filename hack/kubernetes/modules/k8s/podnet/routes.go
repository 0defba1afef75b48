// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"net"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
)

// routeProtocol marks our routes in the kernel's table, so that no others are
// removed.
const routeProtocol = 177

// wantedRoutes maps each pod CIDR of the other nodes to the InternalIP of the
// same family by which it is reached.
func wantedRoutes(nodes map[string]corev1.Node, me string) map[string]net.IP {
	want := map[string]net.IP{}
	for name, node := range nodes {
		if name == me {
			continue
		}
		for _, cidr := range node.Spec.PodCIDRs {
			network, _, err := net.ParseCIDR(cidr)
			if err != nil {
				slog.Warn("node has a pod CIDR that cannot be read", "node", name, "cidr", cidr)
				continue
			}
			if via := internalIP(node, network.To4() != nil); via != nil {
				want[cidr] = via
			}
		}
	}
	return want
}

func internalIP(node corev1.Node, v4 bool) net.IP {
	for _, address := range node.Status.Addresses {
		ip := net.ParseIP(address.Address)
		if address.Type == corev1.NodeInternalIP && ip != nil && (ip.To4() != nil) == v4 {
			return ip
		}
	}
	return nil
}

// syncRoutes removes those of our routes that are not in want, and sets the rest.
func syncRoutes(want map[string]net.IP) error {
	have, err := netlink.RouteListFiltered(netlink.FAMILY_ALL,
		&netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range have {
		if via, ok := want[r.Dst.String()]; ok && via.Equal(r.Gw) {
			delete(want, r.Dst.String())
			continue
		} else if ok {
			continue // replaced below
		}
		slog.Info("removing route", "cidr", r.Dst.String(), "via", r.Gw.String())
		if err := netlink.RouteDel(&r); err != nil {
			return fmt.Errorf("remove route %s: %w", r.Dst, err)
		}
	}
	for cidr, via := range want {
		_, dst, err := net.ParseCIDR(cidr)
		if err != nil {
			return err
		}
		slog.Info("setting route", "cidr", cidr, "via", via.String())
		if err := netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: via, Protocol: routeProtocol}); err != nil {
			return fmt.Errorf("set route %s via %s: %w", cidr, via, err)
		}
	}
	return nil
}
