// SPDX-License-Identifier: Apache-2.0

package qdisc

import "fmt"

// device is an interface as far as it matters what is below it.
type device struct {
	index int
	name  string
	// kind is the driver's name for it, such as bond; empty for hardware.
	kind string
	// parent is the index of the interface that a VLAN or the like is on, in another namespace if foreignParent.
	parent        int
	foreignParent bool
}

// lowest returns the interface and all below it.
func (c *conn) lowest(ifindex int) ([]device, error) {
	top, err := c.link(ifindex)
	if err != nil {
		return nil, fmt.Errorf("find interface %d: %w", ifindex, err)
	}
	var out []device
	seen := map[int]bool{}
	for todo := []device{top}; len(todo) > 0; todo = todo[1:] {
		d := todo[0]
		if seen[d.index] {
			continue
		}
		seen[d.index] = true
		out = append(out, d)
		below, err := c.below(&d)
		if err != nil {
			return nil, err
		}
		todo = append(todo, below...)
	}
	return out, nil
}

// below returns the interfaces right below one. A veth's parent is its peer and not below it.
func (c *conn) below(d *device) ([]device, error) {
	switch d.kind {
	case "bond", "bridge", "team", "vrf":
		ports, err := c.ports(d.index)
		if err != nil {
			return nil, fmt.Errorf("list ports of %s: %w", d.name, err)
		}
		return ports, nil
	case "vlan", "macvlan", "ipvlan":
		if d.foreignParent {
			return nil, nil
		}
		parent, err := c.link(d.parent)
		if err != nil {
			return nil, fmt.Errorf("find interface below %s: %w", d.name, err)
		}
		return []device{parent}, nil
	default:
		return nil, nil
	}
}
