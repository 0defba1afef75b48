// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat/link"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall/qdisc"
)

// networkInterface is a network interface of the node, shared by the hosts that stand on it: it hears their heartbeats,
// and is read once for all of them.
type networkInterface struct {
	hostnet.Interface
	log      *slog.Logger
	filter   *filter.Interface
	receiver *link.Receiver
	stop     context.CancelFunc
	running  sync.WaitGroup

	// The owner's, see interfaces: how many hosts there are, whom to tell that one is gone, at which hook the filter is
	// meant to stand, and why it does not.
	users    int
	released func()
	wish     v1alpha1.Hook
	wishErr  error

	sampling sync.Mutex
	queues   *qdisc.Reader

	mu    sync.Mutex
	hosts map[*attachment]struct{}
	lost  error // the interface is of no use any more
}

// openInterface opens an interface with the filter at the hook that is wished for, or where that is impossible at
// another one.
func openInterface(ctx context.Context, found hostnet.Interface, bpffs string, wish v1alpha1.Hook,
	log *slog.Logger,
) (*networkInterface, error) {
	iface := &networkInterface{
		Interface: found, log: log.With("interface", found.Name), wish: wish, hosts: map[*attachment]struct{}{},
		stop: func() {},
	}
	config := filter.InterfaceConfig{
		Ifindex: found.Index, Root: bpffs, Hook: filterHook(wish), HostMAC: found.MAC, Log: iface.log,
	}
	var err error
	if iface.filter, err = filter.OpenInterface(config); err != nil && config.Hook != filter.Auto {
		iface.wishErr, config.Hook = err, filter.Auto
		iface.filter, err = filter.OpenInterface(config)
	}
	if err != nil {
		return nil, fmt.Errorf("filter on %s: %w", found.Name, err)
	}
	if iface.receiver, err = link.Listen(ctx, found.Index); err != nil {
		iface.close()
		return nil, err
	}
	if iface.queues, err = qdisc.Open(found.Index); err != nil {
		iface.close()
		return nil, err
	}
	// Hosts go on for a moment after the agent was asked to end.
	ctx, iface.stop = context.WithCancel(context.WithoutCancel(ctx))
	iface.running.Go(func() { iface.receive(ctx) })
	iface.running.Go(func() { iface.watch(ctx) })
	return iface, nil
}

// follow moves the filter to the hook that is wished for.
func (n *networkInterface) follow(wish v1alpha1.Hook) {
	if wish == n.wish {
		return
	}
	n.wish = wish
	if n.wishErr = n.filter.SetHook(filterHook(wish)); n.wishErr != nil {
		n.log.Error("Filter stays at its hook", "hook", n.filter.Hook().String(), "wished", wish, "error", n.wishErr)
	}
}

// add lets a host have heartbeats and samples, the first one at once.
func (n *networkInterface) add(a *attachment) {
	s := n.sample()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[a] = struct{}{}
	if n.lost != nil {
		s = host.InterfaceSample{Err: n.lost}
	}
	replace(a.samples, s)
}

func (n *networkInterface) remove(a *attachment) {
	n.mu.Lock()
	delete(n.hosts, a)
	n.mu.Unlock()
	n.released()
}

func (n *networkInterface) isLost() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost != nil
}

// close ends what openInterface began. No host is on the interface any more; the filter goes on for clusters that are
// pinned there, and is removed without any.
func (n *networkInterface) close() {
	n.stop()
	n.running.Wait()
	if n.queues != nil {
		n.queues.Close()
	}
	if n.receiver != nil {
		if err := n.receiver.Close(); err != nil {
			n.log.Debug("Socket not closed", "error", err)
		}
	}
	clusters, err := n.filter.Clusters()
	if err == nil && len(clusters) == 0 {
		err = n.filter.Remove()
	} else {
		err = errors.Join(err, n.filter.Close())
	}
	if err != nil {
		n.log.Error("Filter not closed", "error", err)
	}
}

// receive gives each heartbeat to the host of its cluster.
func (n *networkInterface) receive(ctx context.Context) {
	for {
		payload, _, err := n.receiver.Receive(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.lose(fmt.Errorf("heartbeats on %s: %w", n.Name, err))
			return
		}
		if cluster, ok := heartbeat.ClusterOf(payload); ok {
			n.dispatch(cluster, payload)
		}
	}
}

func (n *networkInterface) dispatch(cluster heartbeat.Cluster, payload []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for a := range n.hosts {
		if a.wire != cluster || a.receive == nil {
			continue
		}
		if err := a.receive(payload); err != nil {
			n.log.Debug("Heartbeat ignored", "cluster", a.cluster, "error", err)
		}
	}
}

// checkEvery is how many samples there are for each look whether the filter is in place.
const checkEvery = 4

// watch samples the interface for all hosts.
func (n *networkInterface) watch(ctx context.Context) {
	ticker := time.NewTicker(host.SampleInterval)
	defer ticker.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.publish(n.sample())
		}
		if i%checkEvery != 0 || n.isLost() {
			continue
		}
		if err := n.filter.Check(); err != nil {
			n.lose(err)
		}
	}
}

func (n *networkInterface) sample() host.InterfaceSample {
	n.sampling.Lock()
	defer n.sampling.Unlock()
	counted, err := hostnet.ReadLink(n.Index)
	if err != nil {
		return host.InterfaceSample{Err: err}
	}
	leaves, err := n.queues.Read()
	if err != nil {
		return host.InterfaceSample{Err: err}
	}
	return host.InterfaceSample{Running: counted.Running, Transmitted: counted.Transmitted, Leaves: leaves}
}

// lose tells the hosts that the interface is of no use any more. They end, and find it again or not.
func (n *networkInterface) lose(err error) {
	n.mu.Lock()
	n.lost = err
	n.mu.Unlock()
	n.publish(host.InterfaceSample{Err: err})
}

func (n *networkInterface) publish(s host.InterfaceSample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lost != nil {
		s = host.InterfaceSample{Err: n.lost}
	} else if s.Err != nil {
		n.lost = s.Err
	}
	for a := range n.hosts {
		replace(a.samples, s)
	}
}
