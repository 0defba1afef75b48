// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/stall"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// reporter remembers what a report needs beside what a host works with.
type reporter struct {
	configError error  // of the newest config
	sendError   error  // of the last heartbeat
	ended       string // why the host ends for good, "" while it goes on
	sample      sample
	verdict     stall.Verdict
	table       tableWatch
	rules       ruleCounters
	wall        wallClock
	conditions  []metav1.Condition // of the last report
}

// report passes the host's state on to those who read it.
func (h *Host) report() {
	s := status.Report(h.facts())
	h.reporter.conditions = s.Conditions
	h.Report(NewReport(h.offered.Config, s, h.roster.peers(h.out.View, h.offered.HostID)))
}

// Report is what people are told of a host. It must not be changed.
type Report struct {
	// Cluster is what the node is asked to be a host of.
	Cluster *v1alpha1.LoadBalancingCluster
	// Host is the host as it is, with its status.
	Host *v1alpha1.LoadBalancingHost
	// Peers are the hosts that it hears.
	Peers []words.Peer
}

// NewReport returns the report of a host with this config and status.
func NewReport(config plan.Config, s *v1alpha1.LoadBalancingHostStatus, peers []words.Peer) Report {
	return Report{Cluster: config.Cluster, Peers: peers, Host: &v1alpha1.LoadBalancingHost{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LoadBalancingHost"},
		ObjectMeta: metav1.ObjectMeta{Name: config.Host.Name, Generation: config.Host.Generation},
		Spec:       config.Host.Spec,
		Status:     *s,
	}}
}

// facts puts together what the host knows.
func (h *Host) facts() *status.Facts {
	r, view, place := &h.reporter, h.out.View, h.Node.Place()
	now, wall := h.Now(), time.Now()
	f := &status.Facts{
		Now: wall, Before: r.conditions,
		HostID: h.offered.HostID, HostGeneration: h.offered.Config.Host.Generation, OfferedGeneration: h.offered.Generation,
		View:               view,
		ConvergenceStarted: r.wall.at(view.Started, now, wall),
		ClientListsMissing: h.clients.failedEpoch != 0 && h.clients.failedEpoch == view.Epoch,
		Rules:              h.rules(),
		Traffic:            traffic(&r.sample),
		Dataplane: status.Dataplane{
			Interface: place.Interface, HostMAC: place.MAC.String(), Hook: place.Hook, WishedHook: h.offered.Hook,
			ClusterMAC: h.offered.ClusterMAC.String(), VirtualIPs: h.vips,
		},
		Refused:     h.refused,
		ConfigError: h.configError(),
		SendError:   r.sendError,
		Ended:       r.ended,
	}
	if h.inForce != nil {
		f.InForceGeneration = &h.inForce.Generation
	}
	if v := r.verdict; v.Stalled() {
		f.Stall = status.Stall{Reason: v.Reason, Queue: v.Queue, Message: v.Message, Since: r.wall.at(v.Since, now, wall)}
	}
	if r.table.size = h.offered.Connections; r.table.full {
		f.TableFull = r.table.message()
	}
	return f
}

// configError is why the newest config is not in force.
func (h *Host) configError() error {
	if h.reporter.configError == nil && h.offered.Config.Refused != "" {
		return errors.New(h.offered.Config.Refused)
	}
	return h.reporter.configError
}

// rules are those in force, with what the host owns of each and what was counted for it.
func (h *Host) rules() []status.Rule {
	p := h.planInForce()
	counted := h.reporter.rules.report(namesOf(p), &h.reporter.sample.counters.Slots)
	var out []status.Rule
	for _, slot := range p.UsedSlots() {
		n := counted[slot]
		out = append(out, status.Rule{
			Name: p.SlotName(slot), Own: h.out.View.Own[slot], Accepted: n.Accepted, Dropped: n.Dropped, Opened: n.Opened,
		})
	}
	return out
}

func namesOf(p *plan.Plan) slotNames {
	var names slotNames
	for _, slot := range p.UsedSlots() {
		names[slot] = p.SlotName(slot)
	}
	return names
}

func traffic(s *sample) status.Traffic {
	c := &s.counters
	return status.Traffic{
		Admitted: c.Admitted, Rejected: c.Rejected, Invalid: c.Invalid, Delivered: c.Delivered, Answered: c.Answered,
		Transmitted: s.port.Transmitted, Completed: c.HandshakesCompleted, Untracked: c.Untracked,
		Connections: s.connections.Count,
	}
}

func addresses(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}
