// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/bucket"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
)

// serving returns a plan of a host that serves some of its cluster's virtual IPs, 10.77.0.100 and 10.77.0.101.
func serving(t *testing.T, vips ...string) *Plan {
	t.Helper()
	return mustPlan(t, config(func(_ *v1alpha1.LoadBalancingClusterSpec, h *v1alpha1.LoadBalancingHostSpec) {
		h.VirtualIPs = append([]string{}, vips...)
	}))
}

func TestVIPsAreThoseHeld(t *testing.T) {
	for name, test := range map[string]struct{ assigned, want []string }{
		"all, in the cluster's order":        {[]string{"10.77.0.101", "10.77.0.100"}, []string{"10.77.0.100", "10.77.0.101"}},
		"not the primary one":                {[]string{"10.77.0.101"}, []string{"10.77.0.101"}},
		"one that the cluster lists no more": {[]string{"10.77.0.100", "10.77.0.99"}, []string{"10.77.0.100"}},
		"none":                               {[]string{}, nil},
	} {
		var got []string
		for _, vip := range serving(t, test.assigned...).VIPs {
			got = append(got, vip.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What tells clusters apart stays the same whatever virtual IPs a cluster has for the moment.
func TestIdentityDerivesFromThePrimaryVIP(t *testing.T) {
	whole, part, none := serving(t, "10.77.0.100", "10.77.0.101"), serving(t, "10.77.0.101"), serving(t)
	settings := func(p *Plan) convergence.Settings { return p.Settings(netip.MustParseAddr("10.77.0.2"), 1, 2) }
	for name, p := range map[string]*Plan{"one assigned": part, "none assigned": none} {
		if p.Primary != whole.Primary || p.ClusterMAC.String() != whole.ClusterMAC.String() || p.ClusterKey() != whole.ClusterKey() ||
			settings(p) != settings(whole) {
			t.Errorf("%s: the cluster is another one: %+v", name, settings(p))
		}
		if p.NeedsRestart(whole) {
			t.Errorf("%s: the host has to begin anew", name)
		}
	}
}

// A rule for a virtual IP that is not assigned keeps its slot: the others' slots stay as they are.
func TestRuleOfAnotherVIPKeepsItsSlot(t *testing.T) {
	p := serving(t, "10.77.0.100")
	if !slices.Equal(p.SlotNames, []string{"http", "admin"}) {
		t.Errorf("slots %q", p.SlotNames)
	}
	table := p.Table(&convergence.Decision{Epoch: 7}, true)
	if err := table.Validate(); err != nil {
		t.Error(err)
	}
	for _, r := range table.Rules {
		if r.Slot == 1 {
			t.Errorf("packets fall into the slot of the rule for 10.77.0.101: %+v", r)
		}
	}
}

// Hosts switch to other virtual IPs together, as to other rules.
func TestDigestsCoverVIPsHeld(t *testing.T) {
	whole, part := serving(t, "10.77.0.100", "10.77.0.101"), serving(t, "10.77.0.100")
	if whole.Digest == part.Digest {
		t.Error("the policy's digest is the same")
	}
	for _, slot := range []int{0, 1, bucket.DefaultSlot} {
		if whole.Slots[slot].Digest == part.Slots[slot].Digest {
			t.Errorf("the digest of slot %d is the same", slot)
		}
	}
}

func TestPlanRefusesVIPsOfHosts(t *testing.T) {
	for vip, want := range map[string]string{"web": "host node-b: spec.virtualIPs[0]", "": "host node-b: spec.virtualIPs[0]"} {
		_, err := New(config(func(_ *v1alpha1.LoadBalancingClusterSpec, h *v1alpha1.LoadBalancingHostSpec) {
			h.VirtualIPs = []string{vip}
		}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", vip, err, want)
		}
	}
}

func TestHostWithoutVIPsServesNone(t *testing.T) {
	unset := config()
	unset.Host.Spec.VirtualIPs = nil
	if got := mustPlan(t, unset).VIPs; len(got) != 0 {
		t.Errorf("serves %v", got)
	}
}
