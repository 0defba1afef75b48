// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
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

// interfaces are the network interfaces in use, each opened for the first host on it and closed with the last.
type interfaces struct {
	claims *hostnet.Claims
	bpffs  string
	log    *slog.Logger

	mu      sync.Mutex
	byIndex map[int]*networkInterface
	configs []plan.Config // of all clusters on the node, in the order of precedence
}

func newInterfaces(claims *hostnet.Claims, bpffs string, log *slog.Logger) *interfaces {
	return &interfaces{claims: claims, bpffs: bpffs, log: log, byIndex: map[int]*networkInterface{}}
}

// follow takes all configs in the order of precedence: the first that wishes for a hook has it.
func (n *interfaces) follow(configs []plan.Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.configs = configs
	for index, iface := range n.byIndex {
		iface.follow(n.wishFor(index))
	}
}

// attach gives a cluster's host its part of the interface that its plan names. What an earlier agent left there is
// taken over.
func (n *interfaces) attach(ctx context.Context, cluster string, p *plan.Plan) (*attachment, error) {
	if err := checkKernel(); err != nil {
		return nil, err
	}
	refused, err := refusedOf(ctx, p.VIPs)
	if err != nil {
		return nil, err
	}
	if len(refused) == len(p.VIPs) {
		return nil, status.NodeAddressError(refused)
	}
	found, err := find(p)
	if err != nil {
		return nil, err
	}
	iface, err := n.use(ctx, found, p.Hook)
	if err != nil {
		return nil, err
	}
	a := &attachment{
		iface: iface, claims: n.claims, cluster: cluster, plan: p, samples: make(chan host.InterfaceSample, 1),
		wire: heartbeat.Cluster{Key: p.ClusterKey()},
	}
	if p.Primary.Is4() {
		a.wire.IP = p.Primary.As4()
	}
	if err := n.fill(ctx, a); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	iface.add(a)
	return a, nil
}

// find returns the interface that a plan names, if it can carry heartbeats.
func find(p *plan.Plan) (hostnet.Interface, error) {
	found, err := hostnet.FindInterface(p.InterfaceName, p.Primary)
	if errors.Is(err, hostnet.ErrNoInterface) || errors.Is(err, hostnet.ErrAmbiguous) {
		return found, status.Because(v1alpha1.ReasonInterfaceNotFound, err)
	}
	if err != nil {
		return found, err
	}
	return found, reasonOfMTU(link.CheckMTU(found.Name, found.MTU, heartbeat.Size))
}

func reasonOfMTU(err error) error {
	if _, ok := errors.AsType[*link.MTUError](err); ok {
		return status.Because(v1alpha1.ReasonMTUTooSmall, err)
	}
	return err
}

// fill sets up what the host needs, the filter first: frames for the cluster MAC shall find it in place.
func (n *interfaces) fill(ctx context.Context, a *attachment) error {
	var err error
	a.filter, err = a.iface.filter.Open(filter.Config{
		Cluster:        a.cluster,
		MaxConnections: a.plan.Connections,
		ClusterMAC:     a.plan.ClusterMAC,
	})
	if err != nil {
		return fmt.Errorf("filter on %s: %w", a.iface.Name, err)
	}
	if err := n.claims.Add(ctx, a.cluster, a.needs(nil)); err != nil {
		return err
	}
	a.conn, err = link.Open(ctx, a.iface.Index, a.plan.HeartbeatMAC)
	return err
}

// use counts one more host on an interface, which is opened for the first. One that was lost is not used again. A host
// whose hook is the interface's cannot do without it.
func (n *interfaces) use(ctx context.Context, found hostnet.Interface, wish v1alpha1.Hook) (*networkInterface, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	iface := n.byIndex[found.Index]
	if iface == nil || iface.isLost() {
		var err error
		if iface, err = openInterface(ctx, found, n.bpffs, n.wishFor(found.Index), n.log); err != nil {
			return nil, err
		}
		iface.released = func() { n.release(iface) }
		n.byIndex[found.Index] = iface
	}
	iface.users++
	if iface.wishErr != nil && wish == iface.wish {
		err := iface.wishErr
		n.releaseLocked(iface)
		return nil, err
	}
	return iface, nil
}

// wishFor returns the hook of the first cluster by precedence that names one on an interface.
func (n *interfaces) wishFor(ifindex int) v1alpha1.Hook {
	for _, c := range n.configs {
		if c.Removed() || c.Cluster.Spec.Dataplane.EffectiveHook() == v1alpha1.HookAuto {
			continue
		}
		p, err := plan.New(c)
		if err != nil {
			continue
		}
		if found, err := hostnet.FindInterface(p.InterfaceName, p.Primary); err == nil && found.Index == ifindex {
			return p.Hook
		}
	}
	return v1alpha1.HookAuto
}

// release counts one host less.
func (n *interfaces) release(iface *networkInterface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.releaseLocked(iface)
}

func (n *interfaces) releaseLocked(iface *networkInterface) {
	if iface.users--; iface.users > 0 {
		return
	}
	iface.close()
	if n.byIndex[iface.Index] == iface {
		delete(n.byIndex, iface.Index)
	}
}

// removeFilter removes the filter of a cluster that has no host.
func (n *interfaces) removeFilter(cluster string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, iface := range n.byIndex {
		clusters, err := iface.filter.Clusters()
		if err != nil {
			return err
		}
		if slices.Contains(clusters, cluster) {
			return iface.filter.RemoveCluster(cluster)
		}
	}
	return filter.CleanupCluster(n.bpffs, cluster)
}

// refusedOf returns those of the virtual IPs that are addresses of the node itself. What is on lo, or where kube-proxy
// keeps the addresses of Services, answers no ARP request.
func refusedOf(ctx context.Context, vips []netip.Addr) ([]status.Refused, error) {
	own, err := hostnet.LocalAddresses(ctx)
	if err != nil {
		return nil, err
	}
	var refused []status.Refused
	for _, vip := range vips {
		if name := own[vip]; name != "" && name != "lo" && name != "kube-ipvs0" {
			refused = append(refused, status.Refused{VirtualIP: vip, Interface: name})
		}
	}
	return refused, nil
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
