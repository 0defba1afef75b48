// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"net/netip"
	"slices"

	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/dataplane/status"
)

// update takes the config that is wanted now. One that cannot be used changes nothing but the report.
func (h *Host) update(ctx context.Context) error {
	if h.wanted.Removed() {
		return nil
	}
	p, err := plan.New(h.wanted)
	h.reporter.configError = err
	if err != nil {
		h.Log.Error("Config refused, the last one stays in force", "error", err)
		h.wanted = h.offered.Config // also where the node has to be set up again
		h.report()
		return nil
	}
	if len(p.VIPs) == 0 || p.NeedsRestart(h.offered) {
		h.restart = true
		return nil
	}
	if p.StallWindow != h.offered.StallWindow || p.StallMinPackets != h.offered.StallMinPackets {
		h.detector = newDetector(p)
	}
	h.offered = p
	h.save()
	h.drain.set(p, h.Now())
	h.plans[p.Digest] = p
	for digest := range h.plans {
		if digest != p.Digest && (h.inForce == nil || digest != h.inForce.Digest) {
			delete(h.plans, digest)
		}
	}
	if err := h.refuse(ctx); err != nil {
		return err
	}
	return h.step(ctx, convergence.Offer{Policy: p.Policy()}, h.drain.adminState(p))
}

// refuse finds out which virtual IPs are the node's own addresses. They are not served, here alone: peers may serve
// them. It is an error if nothing is left to serve.
func (h *Host) refuse(ctx context.Context) error {
	p := h.planInForce()
	vips := slices.Clone(p.VIPs)
	for _, vip := range h.offered.VIPs {
		if !slices.Contains(vips, vip) {
			vips = append(vips, vip)
		}
	}
	refused, err := h.Node.Refused(ctx, vips)
	if err != nil {
		h.Log.Error("Addresses of the node not checked", "error", err)
		return nil
	}
	if slices.Equal(refused, h.refused) {
		return nil
	}
	for _, r := range refused {
		h.Log.Error("Virtual IP is an address of this node and is not served here", "vip", r.VirtualIP, "interface",
			r.Interface)
	}
	h.refused, h.stale = refused, true
	if t := withoutVIPs(filter.Table{VIPs: p.VIPs}, refused); len(t.VIPs) == 0 {
		return status.NodeAddressError(refused)
	}
	return nil
}

// withoutVIPs returns the table without virtual IPs that are refused. A rule for one of them alone keeps its slot, and
// matches no packet.
func withoutVIPs(t filter.Table, refused []status.Refused) filter.Table {
	for _, r := range refused {
		t.VIPs = slices.DeleteFunc(slices.Clone(t.VIPs), func(vip netip.Addr) bool { return vip == r.VirtualIP })
		t.Rules = slices.DeleteFunc(slices.Clone(t.Rules), func(rule filter.Rule) bool { return rule.VIP == r.VirtualIP })
	}
	return t
}
