// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/hostnet"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall/qdisc"
)

const (
	// sweepInterval is how often tracked connections are swept.
	sweepInterval = time.Second
	// sweepShare bounds the share of time that sweeps of a large table take: 1/sweepShare.
	sweepShare = 50
	// underWay is how long a frame that was let in may be on its way to the program that tracks its connection.
	underWay = 100 * time.Millisecond
)

// sampler reads what the node counts.
type sampler struct {
	ifindex     int
	queues      *qdisc.Reader
	filter      *filter.Filter
	nextSweep   time.Duration
	sweptAt     time.Duration // when the last sweep began
	connections filter.Connections
}

// applied keeps sweeps away from the moment after the filter was given another table: a bucket that it lets nothing new into any
// more is idle only when what it let in before is tracked.
func (r *sampler) applied(now time.Duration) { r.nextSweep = max(r.nextSweep, now+underWay) }

// sweepSoon asks for a sweep as soon as it can tell what the filter let in before now.
func (r *sampler) sweepSoon(now time.Duration) { r.nextSweep = now + underWay }

// sample is what a host counts at one moment.
type sample struct {
	counters    filter.Counters
	connections filter.Connections
	// swept says that connections are of this moment.
	swept bool
	link  hostnet.Link
	stall stall.Sample
}

// first reads what an earlier agent left in the filter, so that the first report has it: counters and the number of
// connections. Which buckets they are in only the filter of the first decision tells.
func (r *sampler) first() (sample, error) {
	counters, err := r.filter.Counters()
	if err != nil {
		return sample{}, fmt.Errorf("counters: %w", err)
	}
	connections, err := r.filter.Connections(filter.Now())
	if err != nil {
		return sample{}, fmt.Errorf("tracked connections: %w", err)
	}
	link, err := hostnet.ReadLink(r.ifindex)
	if err != nil {
		return sample{}, err
	}
	r.connections = connections
	return sample{counters: counters, connections: connections, link: link}, nil
}

func (r *sampler) read(out *convergence.Output) (sample, error) {
	now := filter.Now()
	counters, err := r.filter.Counters()
	if err != nil {
		return sample{}, fmt.Errorf("counters: %w", err)
	}
	leaves, err := r.queues.Read()
	if err != nil {
		return sample{}, err
	}
	link, err := hostnet.ReadLink(r.ifindex)
	if err != nil {
		return sample{}, err
	}
	s := sample{counters: counters, link: link}
	if s.swept = now >= r.nextSweep; s.swept {
		if r.connections, err = r.filter.Connections(now); err != nil {
			return sample{}, fmt.Errorf("tracked connections: %w", err)
		}
		r.sweptAt = now
		r.nextSweep = now + max(sweepInterval, sweepShare*(filter.Now()-now))
	}
	s.connections = r.connections
	s.stall = stallSample(now, &counters, leaves, out)
	return s, nil
}

// stallSample has no request for an address in it while the host lets nothing in: it answers none then, by design.
func stallSample(now time.Duration, c *filter.Counters, leaves []stall.Leaf, out *convergence.Output) stall.Sample {
	s := stall.Sample{
		At:           now,
		Admitted:     c.Admitted,
		Delivered:    c.Delivered,
		Answered:     c.Answered,
		SYNs:         c.SYNDelivered,
		RepeatedSYNs: c.SYNRepeated,
		SYNACKs:      c.SYNACK,
		RSTs:         c.RST,
		Completed:    c.HandshakesCompleted,
		Leaves:       leaves,
	}
	if out.Decision.LeaseUntil != 0 {
		s.AddressAsked, s.AddressAnswered = c.ResolutionAsked, c.ResolutionAnswered
	}
	for i, q := range c.Queues {
		s.Queues = append(s.Queues, stall.Queue{Index: i, Admitted: q.Admitted, Delivered: q.Delivered})
	}
	if view := out.View; view != nil {
		s.HeartbeatsUnheard = view.State == convergence.StateExcluded && view.Heard&^view.Members != 0
	}
	return s
}

// peersOf has what the peers say of their clients; their heartbeats leave repeated requests out already.
func peersOf(traffic []convergence.PeerTraffic) []stall.Peer {
	var peers []stall.Peer
	for _, t := range traffic {
		peers = append(peers, stall.Peer{ID: t.HostID, SYNs: uint64(t.SYNs), Completed: uint64(t.Handshakes)})
	}
	return peers
}

// stallCode is the number of a stall reason in heartbeats; 0 is none. It must not change between versions.
func stallCode(reason v1alpha1.StallReason) uint8 {
	for i, r := range []v1alpha1.StallReason{
		v1alpha1.StallIngressQueue, v1alpha1.StallServiceNotAnswering, v1alpha1.StallEgressQueue,
		v1alpha1.StallRepliesLost, v1alpha1.StallAddressResolution, v1alpha1.StallHeartbeatsUnheard,
	} {
		if r == reason {
			return uint8(i + 1)
		}
	}
	return 0
}
