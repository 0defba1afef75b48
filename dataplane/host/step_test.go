// SPDX-License-Identifier: Apache-2.0

package host

import (
	"testing"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/convergence"
	"github.com/kube-wlbs/kube-wlbs/dataplane/filter"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// What a commit changes is one atomic switch; what peers' connections change between commits needs none.
func TestOnlyBusyBucketsNeedNoNewTable(t *testing.T) {
	config := plan.Config{Cluster: &v1alpha1.LoadBalancingCluster{}, Host: &v1alpha1.LoadBalancingHost{}}
	config.Cluster.Spec.VirtualIPs = []string{"10.77.0.100"}
	config.Cluster.Spec.PortRules = []v1alpha1.PortRule{{Name: "http", Ports: v1alpha1.PortRange{From: 80, To: 80}}}
	config.Host.Spec.HostID = 2
	p, err := plan.New(config)
	if err != nil {
		t.Fatal(err)
	}
	table := func(change func(*convergence.Decision)) *filter.Table {
		d := convergence.Decision{Epoch: 7}
		d.Accept[0] = 0b0111
		change(&d)
		out := p.Table(&d, true)
		return &out
	}
	before := table(func(*convergence.Decision) {})
	for name, test := range map[string]struct {
		change func(*convergence.Decision)
		want   bool
	}{
		"busy":   {func(d *convergence.Decision) { d.Busy[0] = 0b0100 }, true},
		"accept": {func(d *convergence.Decision) { d.Accept[0] = 0b0011 }, false},
		"epoch":  {func(d *convergence.Decision) { d.Epoch++ }, false},
	} {
		if got := differInBusyOnly(before, table(test.change)); got != test.want {
			t.Errorf("%s: differInBusyOnly = %v, want %v", name, got, test.want)
		}
	}
	p.Slots[0].State = v1alpha1.RuleStateDisabled
	if differInBusyOnly(before, table(func(*convergence.Decision) {})) {
		t.Error("a rule that was disabled needs a new table")
	}
}
