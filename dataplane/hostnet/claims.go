// SPDX-License-Identifier: Apache-2.0

package hostnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Needs is what one cluster needs of the node's network stack.
type Needs struct {
	// Interface carries the cluster's traffic. If it is the zero Interface, only the virtual IPs on lo count.
	Interface Interface
	// VIPs are local addresses, and the interface hears the neighbour solicitations for those of IPv6.
	VIPs []netip.Addr
	// MACs, of 6 bytes each, are in the interface's receive filter.
	MACs []net.HardwareAddr
	// Groups are multicast groups that the interface is a member of.
	Groups []netip.Addr
}

// Claims knows what each cluster on the node needs. What several of them need is set up for the first and taken away
// with the last. An owner is the name of a cluster. Claims is safe for concurrent use, and acts in the network
// namespace of the thread that calls.
//
// What somebody else set up stays. The kernel keeps our mark with all but MAC filters: one of these that was there
// before its first owner asked for it is taken for a stranger's, unless that owner was registered.
type Claims struct {
	kernel kernel

	mu     sync.Mutex
	owners map[string]*claim
	// filters are the MAC filters that this agent or an earlier one made.
	filters map[thing]bool
}

// claim is what one owner needs, and what it needed before that could not be taken away yet.
type claim struct {
	needed, leftover []thing
}

// kernel is the node's network stack. The things of one call are of one kind and interface.
type kernel interface {
	// add sets up what is missing, and returns what was, as far as errors allow.
	add(ctx context.Context, things []thing) (added []thing, err error)
	// remove takes away what is there and has our mark, if the kernel keeps marks with its kind.
	remove(ctx context.Context, things []thing) error
}

// NewClaims returns the claims of a node on which nobody needs anything yet.
func NewClaims() *Claims { return newClaims(system{}) }

func newClaims(k kernel) *Claims {
	return &Claims{kernel: k, owners: map[string]*claim{}, filters: map[thing]bool{}}
}

// Register says what an owner needs and has set up already, in an earlier run of the agent, without looking whether it
// is there. Registering all owners before any of them acts keeps each from taking away what the others need.
func (c *Claims) Register(owner string, needs Needs) {
	c.mu.Lock()
	defer c.mu.Unlock()
	things := needs.things()
	c.claim(owner).need(things)
	for _, t := range things {
		if t.kind == macFilter {
			c.filters[t] = true
		}
	}
}

// Want makes needs all that an owner needs: what is missing is set up, whoever took it away, and what the owner needed
// before and nobody needs now is taken away. It goes on after errors, and joins them; each names what failed. The needs
// count all the same, and another call tries again what failed.
func (c *Claims) Want(ctx context.Context, owner string, needs Needs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want(ctx, owner, needs.things())
}

// Add is Want for what an owner needs beside what it needs already.
func (c *Claims) Add(ctx context.Context, owner string, needs Needs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.want(ctx, owner, union(c.claim(owner).needed, needs.things()))
}

// Drop ends all needs of an owner. After an error the owner is known still, and another call tries again.
func (c *Claims) Drop(ctx context.Context, owner string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.want(ctx, owner, nil)
	if len(c.owners[owner].leftover) == 0 {
		delete(c.owners, owner)
	}
	return err
}

func (c *Claims) claim(owner string) *claim {
	if c.owners[owner] == nil {
		c.owners[owner] = &claim{}
	}
	return c.owners[owner]
}

// need replaces what is needed.
func (o *claim) need(things []thing) {
	gone := union(o.leftover, o.needed)
	o.needed = things
	o.leftover = slices.DeleteFunc(gone, func(t thing) bool { return slices.Contains(things, t) })
}

func (c *Claims) want(ctx context.Context, owner string, things []thing) error {
	claim := c.claim(owner)
	claim.need(things)
	var errs []error
	for _, batch := range batches(claim.needed) {
		errs = append(errs, c.setUp(ctx, batch))
	}
	claim.leftover = slices.DeleteFunc(claim.leftover, c.needed)
	var failed []thing
	for _, batch := range slices.Backward(batches(claim.leftover)) {
		if err := c.takeAway(ctx, batch); err != nil {
			errs, failed = append(errs, err), append(failed, batch...)
		}
	}
	claim.leftover = union(failed, nil)
	return errors.Join(errs...)
}

func (c *Claims) setUp(ctx context.Context, batch []thing) error {
	added, err := c.kernel.add(ctx, batch)
	for _, t := range added {
		if t.kind == macFilter {
			c.filters[t] = true
		}
	}
	return err
}

func (c *Claims) takeAway(ctx context.Context, batch []thing) error {
	ours := slices.DeleteFunc(slices.Clone(batch), func(t thing) bool { return t.kind == macFilter && !c.filters[t] })
	if len(ours) == 0 {
		return nil
	}
	if err := c.kernel.remove(ctx, ours); err != nil {
		return err
	}
	for _, t := range ours {
		delete(c.filters, t)
	}
	return nil
}

// needed reports whether any owner needs a thing.
func (c *Claims) needed(t thing) bool {
	for _, o := range c.owners {
		if slices.Contains(o.needed, t) {
			return true
		}
	}
	return false
}
