// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// snoop makes the bridge a switch with IGMP and MLD snooping and a querier. If strict, it drops what nobody asked for.
func (r *Rig) snoop(t *testing.T, strict bool) {
	t.Helper()
	// A querier is none before it has an address to ask from.
	must(t, poll(soon(t, waitLimit), func() error {
		out, err := r.Bridge.Run("ip", "-6", "address", "show", "dev", bridge, "scope", "link")
		if err == nil && !strings.Contains(out, "fe80:") {
			err = errors.New("the bridge has no link-local address")
		}
		return err
	}))
	// A bridge floods until the answers to its first query had their time, 10 s unless told otherwise.
	for _, setting := range []string{"mcast_query_response_interval 10", "mcast_snooping 1", "mcast_querier 1"} {
		_, err := r.Bridge.Run("ip", strings.Fields("link set "+bridge+" type bridge "+setting)...)
		must(t, err)
	}
	if !strict {
		return
	}
	for _, h := range r.Hosts {
		_, err := r.Bridge.Run("bridge", "link", "set", "dev", h.Port, "mcast_flood", "off")
		must(t, err)
	}
}

// joined waits until the bridge knows that every host's port wants a group, and the clients' does not.
func (r *Rig) joined(t *testing.T, group string) {
	t.Helper()
	must(t, poll(soon(t, waitLimit), func() error {
		table, err := r.Bridge.Run("bridge", "mdb", "show", "dev", bridge)
		if err != nil {
			return err
		}
		ports := map[string]bool{}
		for line := range strings.Lines(table) {
			if f := strings.Fields(line); len(f) >= 6 && f[5] == group {
				ports[f[3]] = true
			}
		}
		for _, h := range r.Hosts {
			if !ports[h.Port] {
				return fmt.Errorf("port of %s has not joined %s:\n%s", h.Name, group, table)
			}
		}
		if ports["client"] {
			return fmt.Errorf("the clients' port has joined %s", group)
		}
		return nil
	}))
}

// A switch with MLD snooping that drops what nobody asked for still passes solicitations for the virtual IP to all hosts, whose
// kernels know it on lo only.
func TestMLDSnooping(t *testing.T) {
	needTool(t, "bridge")
	r := newRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
		ipv6Only(c)
		c.Spec.Mode = v1alpha1.ModeUnicast // frames for a multicast MAC of no group would be dropped, too
	})
	r.snoop(t, true)
	r.useAgent(t)
	must(t, r.StartAll())
	r.converged(t, r.Hosts...)
	r.joined(t, "ff02::1:ff00:100")
	r.spread(t, VIP6, 20)

	b := r.Hosts[1]
	must(t, b.Stop())
	must(t, poll(soon(t, waitLimit), func() error {
		groups, err := b.NS.Run("cat", "/proc/thread-self/net/igmp6")
		if err == nil && strings.Contains(groups, "eth0            ff0200000000000000000001ff000100") {
			err = fmt.Errorf("%s is still a member:\n%s", b.Name, groups)
		}
		return err
	}))
}

// In IGMPMulticast mode the hosts of an IPv6 cluster join a group by MLD, too.
func TestMLDGroupOfTheCluster(t *testing.T) {
	needTool(t, "bridge")
	r := newRig(t, 2, func(c *v1alpha1.LoadBalancingCluster) {
		ipv6Only(c)
		c.Spec.Mode = v1alpha1.ModeIGMPMulticast
	})
	r.snoop(t, false)
	r.useAgent(t)
	must(t, r.StartAll())
	r.converged(t, r.Hosts...)
	r.joined(t, "ff15::bf:100")
	r.joined(t, "ff02::1:ff00:100")
	// A Linux bridge with a querier looks for the frame's IP address among the groups, and this is none: as one of an
	// unknown group it goes to the ports of multicast routers only. See docs/installation.md.
	for _, h := range r.Hosts {
		_, err := r.Bridge.Run("bridge", "link", "set", "dev", h.Port, "mcast_router", "2")
		must(t, err)
	}
	r.spread(t, VIP6, 20)

	// An interface that was set down has lost its addresses of IPv6, and with them the groups.
	a := r.Hosts[0]
	must(t, a.NS.Do(linkDown(hostInterface)))
	letPass(t, time.Second)
	must(t, a.NS.Do(linkUp(hostInterface)))
	must(t, a.address())
	r.converged(t, r.Hosts...)
	must(t, poll(soon(t, waitLimit), func() error {
		groups, err := a.NS.Run("cat", "/proc/thread-self/net/igmp6")
		for _, group := range []string{"ff0200000000000000000001ff000100", "ff150000000000000000000000bf0100"} {
			if err == nil && !strings.Contains(groups, "eth0            "+group) {
				err = fmt.Errorf("%s is no member of %s:\n%s", a.Name, group, groups)
			}
		}
		return err
	}))
	r.spread(t, VIP6, 20)
}
