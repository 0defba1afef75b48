// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
)

// networkName is the name that kind gives its nodes' network in every engine.
const networkName = "kind"

// Network is the Ethernet segment that the nodes share.
type Network struct {
	// Bridge is the interface, on the machine's side, that joins the nodes' ports.
	Bridge string
	// Subnet and Gateway are the nodes' IPv4 network and the bridge's address in it.
	Subnet  netip.Prefix
	Gateway netip.Addr
	// Subnet6 is the IPv6 network; not valid where there is none.
	Subnet6 netip.Prefix

	block byte
}

// engineNetwork is what the engines' `network inspect` says, each in its own way.
type engineNetwork struct {
	// Podman's
	Interface string `json:"network_interface"`
	Subnets   []subnet
	// Docker's
	ID      string `json:"Id"`
	IPAM    struct{ Config []subnet }
	Options map[string]string `json:"Options"`
}

type subnet struct{ Subnet, Gateway string }

// Network describes the nodes' network.
func (l *Lab) Network(ctx context.Context) (Network, error) {
	out, err := l.engine(ctx, "network", "inspect", networkName)
	if err != nil {
		return Network{}, err
	}
	n, err := parseNetwork([]byte(out))
	n.block = virtualBlock(l.Name)
	return n, err
}

// virtualBlock numbers the block of virtual IPs of a cluster: clusters on one
// segment must not share any. Names of which two have one number can be chosen,
// but not by accident: there is the default, and what continuous integration uses.
func virtualBlock(name string) byte {
	const blocks = 64
	if name == DefaultName {
		return 0
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return byte(1 + h.Sum32()%(blocks-1))
}

func parseNetwork(text []byte) (Network, error) {
	var found []engineNetwork
	if err := json.Unmarshal(text, &found); err != nil || len(found) != 1 {
		return Network{}, fmt.Errorf("network %s: the engine's description is not understood: %w", networkName, err)
	}
	e := found[0]
	n := Network{Bridge: e.Interface}
	if n.Bridge == "" {
		n.Bridge = e.Options["com.docker.network.bridge.name"]
	}
	if n.Bridge == "" && len(e.ID) >= 12 {
		n.Bridge = "br-" + e.ID[:12]
	}
	for _, s := range append(e.Subnets, e.IPAM.Config...) {
		prefix, err := netip.ParsePrefix(s.Subnet)
		if err != nil {
			return Network{}, fmt.Errorf("network %s: %w", networkName, err)
		}
		if prefix.Addr().Is6() {
			n.Subnet6 = prefix.Masked()
			continue
		}
		n.Subnet = prefix.Masked()
		if n.Gateway, err = netip.ParseAddr(s.Gateway); err != nil {
			n.Gateway = n.Subnet.Addr().Next()
		}
	}
	if !n.Subnet.IsValid() {
		return Network{}, fmt.Errorf("network %s has no IPv4 subnet", networkName)
	}
	return n, nil
}

// Address is a node's IPv4 address on the segment. It stays when the node is
// started again, whatever the engine says.
func (l *Lab) Address(ctx context.Context, node string) (netip.Addr, error) {
	out, err := l.InNodeNet(ctx, node, "ip", "-json", "-4", "address", "show", "dev", "eth0", "scope", "global")
	if err != nil {
		return netip.Addr{}, err
	}
	var links []struct {
		Addresses []struct {
			Local netip.Addr `json:"local"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal([]byte(out), &links); err != nil {
		return netip.Addr{}, fmt.Errorf("addresses of node %s: %w", node, err)
	}
	for _, l := range links {
		if len(l.Addresses) > 0 {
			return l.Addresses[0].Local, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("node %s has no IPv4 address", node)
}

// Who uses which virtual IPs, so that the demo and the tests can be there at once. Those between are for people who try
// things by hand.
const (
	DemoVirtualIP      = 0
	FirstTestVirtualIP = 10
)

// VirtualIP is the n-th address, of 0..99, that tests and the demo may use as a
// virtual IP: 100+n in a /24 at the end of the nodes' subnet, where engines, which
// hand out addresses from below, do not come. It is the last one for the cluster
// of the default name, and others for others.
func (n Network) VirtualIP(index int) (netip.Addr, error) {
	const first, last, addressBits = 100, 199, 32
	host := first + index
	if index < 0 || host > last {
		return netip.Addr{}, fmt.Errorf("virtual IP %d: not in 0..%d", index, last-first)
	}
	if n.Subnet.Bits() > 24 {
		return netip.Addr{}, fmt.Errorf("subnet %s is too small to choose a virtual IP", n.Subnet)
	}
	a := n.Subnet.Addr().As4()
	for bit := n.Subnet.Bits(); bit < addressBits-8; bit++ {
		a[bit/8] |= 0x80 >> (bit % 8)
	}
	if n.Subnet.Bits() <= 16 {
		a[2] -= n.block
	}
	a[3] = byte(host)
	return netip.AddrFrom4(a), nil
}

// VirtualIP6 is the IPv6 counterpart of VirtualIP.
func (n Network) VirtualIP6(index int) (netip.Addr, error) {
	if !n.Subnet6.IsValid() {
		return netip.Addr{}, errors.New("the nodes' network has no IPv6")
	}
	a := n.Subnet6.Addr().As16()
	a[12], a[13], a[15] = 0xff, n.block, byte(0x64+index)
	return netip.AddrFrom16(a), nil
}
