// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat/link"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

// attachment is one host's part of a network interface: its filter, its socket to send heartbeats by, and what it
// claims of the node's network stack. It is the host's Node and Link. All but the socket outlive the agent, so that a
// restart loses nothing.
type attachment struct {
	iface   *networkInterface
	claims  *hostnet.Claims
	cluster string
	plan    *plan.Plan
	wire    heartbeat.Cluster // the cluster's frames have it
	filter  *filter.Filter
	conn    *link.Conn
	samples chan host.InterfaceSample // holds the newest only
	receive func(payload []byte) error
	let     sync.Once
	removed bool
}

// listen lets the host have the heartbeats of its peers from now on.
func (a *attachment) listen(receive func(payload []byte) error) {
	a.iface.mu.Lock()
	defer a.iface.mu.Unlock()
	a.receive = receive
}

// needs is what the host needs of the node to serve these virtual IPs.
func (a *attachment) needs(vips []netip.Addr) hostnet.Needs {
	return hostnet.Needs{Interface: a.iface.Interface, VIPs: vips, MACs: []net.HardwareAddr{a.plan.ClusterMAC},
		Groups: groupsOf(a.plan)}
}

// Send implements host.Link.
func (a *attachment) Send(payload []byte) error { return reasonOfMTU(a.conn.Send(payload)) }

// Place implements host.Node.
func (a *attachment) Place() host.Place {
	return host.Place{Interface: a.iface.Name, MAC: a.iface.MAC, Hook: v1alpha1.Hook(a.iface.filter.Hook().String())}
}

// Addresses implements host.Node.
func (a *attachment) Addresses() []netip.Addr {
	other := netip.IPv6Unspecified()
	if a.plan.Primary.Is6() {
		other = netip.IPv4Unspecified()
	}
	var out []netip.Addr
	for _, family := range []netip.Addr{a.plan.Primary, other} {
		if found, err := hostnet.FindInterface(a.iface.Name, family); err == nil && found.Addr.IsValid() {
			out = append(out, found.Addr.Addr())
		}
	}
	return out
}

// Refused implements host.Node.
func (a *attachment) Refused(ctx context.Context, vips []netip.Addr) ([]status.Refused, error) {
	return refusedOf(ctx, vips)
}

// SetVIPs implements host.Node. It looks every time: what an earlier agent made local is gone after a reboot, an
// interface that was down has lost its groups, and others configure lo too.
func (a *attachment) SetVIPs(ctx context.Context, vips []netip.Addr) error {
	return a.claims.Want(ctx, a.cluster, a.needs(vips))
}

// Announce implements host.Node.
func (a *attachment) Announce(vips []netip.Addr) error {
	var errs []error
	for _, vip := range vips {
		errs = append(errs, hostnet.Announce(a.iface.Interface, vip, a.plan.ClusterMAC))
	}
	return errors.Join(errs...)
}

// Close implements host.Node: everything stays for the next host.
func (a *attachment) Close() error {
	err := a.letGo()
	if a.filter != nil && !a.removed {
		err = errors.Join(err, a.filter.Close())
	}
	return err
}

// Remove implements host.Node. The virtual IPs go first: without the filter, a kernel that had them would answer for
// them with the interface's own MAC.
func (a *attachment) Remove(ctx context.Context) error {
	a.removed = true
	return errors.Join(a.claims.Drop(ctx, a.cluster), a.filter.Remove(), a.letGo())
}

// letGo closes the socket, and counts one host less on the interface. It may be called again.
func (a *attachment) letGo() (err error) {
	a.let.Do(func() {
		if a.conn != nil {
			err = a.conn.Close()
		}
		a.iface.remove(a)
	})
	return err
}
