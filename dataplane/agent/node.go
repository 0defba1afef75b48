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

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat/link"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall/qdisc"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// node is what the agent set up on its node for one cluster: the filter on the interface,
// the cluster MAC in its receive filter, the virtual IPs on lo, and the heartbeats' sockets.
// All but the sockets outlive the agent, so that a restart loses nothing.
type node struct {
	iface  hostnet.Interface
	port   *filter.Interface
	filter *filter.Filter
	conn   *link.Conn
	heard  *link.Receiver
	queues *qdisc.Reader
	vips   []netip.Addr
	mac    net.HardwareAddr
	group  netip.Addr
}

func openNode(ctx context.Context, p *plan.Plan, bpffsDir string, log *slog.Logger) (*node, error) {
	iface, err := hostnet.FindInterface(p.InterfaceName, p.Primary)
	if err != nil {
		return nil, err
	}
	if err := link.CheckMTU(iface.Name, iface.MTU, heartbeat.Size); err != nil {
		return nil, err
	}
	n := &node{iface: iface, mac: p.ClusterMAC, group: p.Group}
	n.port, err = filter.OpenInterface(filter.InterfaceConfig{
		Ifindex: iface.Index,
		Root:    bpffsDir,
		Hook:    filterHook(p.Hook),
		HostMAC: iface.MAC,
		Log:     log,
	})
	if err != nil {
		return nil, fmt.Errorf("filter on %s: %w", iface.Name, err)
	}
	n.filter, err = n.port.Open(filter.Config{
		Cluster:        p.ClusterName,
		ClusterMAC:     p.ClusterMAC,
		MaxConnections: p.Connections,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("filter on %s: %w", iface.Name, err), n.port.Close())
	}
	if err := n.join(ctx, p); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// join makes the node reachable by the cluster MAC and the virtual IPs, with the filter in place already.
func (n *node) join(ctx context.Context, p *plan.Plan) error {
	if err := hostnet.AddMACFilter(n.iface, n.mac); err != nil {
		return err
	}
	if err := n.joinGroup(); err != nil {
		return err
	}
	conn, err := link.Open(ctx, n.iface.Index, p.HeartbeatMAC)
	if err != nil {
		return err
	}
	n.conn = conn
	if n.heard, err = link.Listen(ctx, n.iface.Index); err != nil {
		return err
	}
	n.queues, err = qdisc.Open(n.iface.Index)
	return err
}

// joinGroup makes the interface a member of the cluster's group, in IGMPMulticast mode.
func (n *node) joinGroup() error {
	if !n.group.IsValid() {
		return nil
	}
	return hostnet.AddGroup(n.iface, n.group)
}

// checkMTU says whether the interface carries heartbeats as it is now.
func (n *node) checkMTU() error {
	now, err := hostnet.FindInterface(n.iface.Name, n.vips[0])
	if err != nil {
		return err
	}
	return link.CheckMTU(now.Name, now.MTU, heartbeat.Size)
}

// setVIPs makes exactly these addresses local, and the interface hear of them; those of an earlier config go. It looks
// every time: what an earlier agent made local is gone after a reboot, an interface that was down has lost
// its groups, and others configure lo too.
func (n *node) setVIPs(ctx context.Context, vips []netip.Addr) error {
	gone := slices.DeleteFunc(slices.Clone(n.vips), func(a netip.Addr) bool { return slices.Contains(vips, a) })
	err := errors.Join(
		hostnet.AddVIPs(ctx, vips), hostnet.JoinSolicitedNodes(n.iface, vips), n.joinGroup(),
		hostnet.LeaveSolicitedNodes(n.iface, gone), hostnet.RemoveVIPs(ctx, gone))
	if err != nil {
		return err
	}
	n.vips = slices.Clone(vips)
	return nil
}

// announce tells the segment where the virtual IPs are.
func (n *node) announce() error {
	var errs []error
	for _, vip := range n.vips {
		errs = append(errs, hostnet.Announce(n.iface, vip, n.mac))
	}
	return errors.Join(errs...)
}

// close leaves everything in place for the next agent.
func (n *node) close() error {
	return errors.Join(n.closeSockets(), n.filter.Close(), n.port.Close())
}

// remove leaves nothing. The virtual IPs go first: without the filter, a kernel that
// had them would answer for them with the node's own MAC.
func (n *node) remove(ctx context.Context) error {
	return errors.Join(
		n.filter.Revoke(),
		hostnet.RemoveVIPs(ctx, n.vips),
		leaveSegment(n.iface, n.mac, n.group, n.vips),
		n.filter.Remove(),
		n.port.Remove(),
		n.closeSockets(),
	)
}

func (n *node) closeSockets() error {
	var errs []error
	if n.conn != nil {
		errs = append(errs, n.conn.Close())
	}
	if n.heard != nil {
		errs = append(errs, n.heard.Close())
	}
	if n.queues != nil {
		n.queues.Close()
	}
	return errors.Join(errs...)
}

// removeLeftovers removes what an agent that is gone set up by this plan.
func removeLeftovers(ctx context.Context, p *plan.Plan, bpffsDir string) error {
	errs := []error{hostnet.RemoveVIPs(ctx, p.VIPs)}
	iface, err := hostnet.FindInterface(p.InterfaceName, p.Primary)
	switch {
	case err == nil:
		errs = append(errs, leaveSegment(iface, p.ClusterMAC, p.Group, p.VIPs))
	case !errors.Is(err, hostnet.ErrNoInterface):
		errs = append(errs, err)
	}
	return errors.Join(append(errs, filter.Cleanup(bpffsDir))...)
}

// leaveSegment takes the cluster MAC out of the interface's receive filter, and the interface out of its groups.
func leaveSegment(iface hostnet.Interface, mac net.HardwareAddr, group netip.Addr, vips []netip.Addr) error {
	err := errors.Join(hostnet.RemoveMACFilter(iface, mac), hostnet.LeaveSolicitedNodes(iface, vips))
	if group.IsValid() {
		err = errors.Join(err, hostnet.RemoveGroup(iface, group))
	}
	return err
}

func filterHook(h v1alpha1.Hook) filter.Hook {
	switch h {
	case v1alpha1.HookXDP:
		return filter.XDP
	case v1alpha1.HookTCX:
		return filter.TCX
	case v1alpha1.HookClsact:
		return filter.Clsact
	default:
		return filter.Auto
	}
}
