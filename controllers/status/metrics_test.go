// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// clusters is a reader of these LoadBalancingClusters, and of one host.
type clusters []v1alpha1.LoadBalancingCluster

// countingHost is the host that clusters has.
func countingHost() v1alpha1.LoadBalancingHost {
	return v1alpha1.LoadBalancingHost{
		Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", NodeName: "node-a", HostID: 1},
		Status: v1alpha1.LoadBalancingHostStatus{Traffic: v1alpha1.HostTraffic{
			Connections: new(int64(3)), Untracked: new(int64(4)),
			Rules: []v1alpha1.RuleTraffic{{Rule: "http", Accepted: new(int64(5)), Dropped: new(int64(6)), Opened: new(int64(2))}},
		}},
	}
}

func (c clusters) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.ErrUnsupported
}

func (c clusters) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch into := list.(type) {
	case *v1alpha1.LoadBalancingClusterList:
		if c == nil {
			return errors.ErrUnsupported
		}
		into.Items = c
	case *v1alpha1.LoadBalancingHostList:
		into.Items = []v1alpha1.LoadBalancingHost{countingHost()}
	default:
		return errors.ErrUnsupported
	}
	return nil
}

// scrape returns the samples as name{label=value,...}=value.
func scrape(t *testing.T, reader client.Reader) (map[string]float64, error) {
	t.Helper()
	elected := make(chan struct{})
	close(elected)
	return scrapeAs(t, reader, elected)
}

func scrapeAs(t *testing.T, reader client.Reader, elected <-chan struct{}) (map[string]float64, error) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(NewMetrics(reader, elected)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	samples := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			samples[f.GetName()+labelWords(m)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return samples, err
}

func labelWords(m *dto.Metric) string {
	var words []string
	for _, l := range m.GetLabel() {
		words = append(words, l.GetName()+"="+l.GetValue())
	}
	return "{" + strings.Join(words, ",") + "}"
}

// hostSamples are those of countingHost.
func hostSamples() map[string]float64 {
	return map[string]float64{
		"wlbs_host_connections{cluster=web,node=node-a}":                              3,
		"wlbs_host_untracked_connections_total{cluster=web,node=node-a}":              4,
		"wlbs_rule_packets_total{cluster=web,node=node-a,rule=http,verdict=accepted}": 5,
		"wlbs_rule_packets_total{cluster=web,node=node-a,rule=http,verdict=dropped}":  6,
		"wlbs_rule_connection_requests_total{cluster=web,node=node-a,rule=http}":      2,
	}
}

func TestMetrics(t *testing.T) {
	all := []int32{1, 2}
	cluster := after(testCluster(), says(1, converged, 7, all), says(2, converged, 7, all, stalledBy(v1alpha1.StallEgressQueue)))
	cluster.Status.Conditions = cluster.Status.Conditions[1:2]
	samples, err := scrape(t, clusters{*cluster})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{
		"wlbs_cluster_hosts{cluster=web,kind=desired}":                           2,
		"wlbs_cluster_hosts{cluster=web,kind=members}":                           2,
		"wlbs_cluster_hosts{cluster=web,kind=converged}":                         2,
		"wlbs_cluster_hosts{cluster=web,kind=stalled}":                           1,
		"wlbs_host_stalled{cluster=web,node=node-b,reason=EgressQueueStalled}":   1,
		"wlbs_cluster_condition{cluster=web,condition=Converged,status=True}":    1,
		"wlbs_cluster_condition{cluster=web,condition=Converged,status=False}":   0,
		"wlbs_cluster_condition{cluster=web,condition=Converged,status=Unknown}": 0,
		"wlbs_cluster_epoch{cluster=web}":                                        7,
	}
	maps.Copy(want, hostSamples())
	if diff := cmp.Diff(want, samples); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetricsOfNewCluster(t *testing.T) {
	samples, err := scrape(t, clusters{*testCluster()})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(hostSamples(), samples); diff != "" {
		t.Errorf("a cluster without status (-want +got):\n%s", diff)
	}
}

func TestMetricsSayWhenTheyCannotRead(t *testing.T) {
	if _, err := scrape(t, clusters(nil)); err == nil {
		t.Error("a failed read looks like no clusters")
	}
}

func TestStandbyExportsNothing(t *testing.T) {
	samples, err := scrapeAs(t, clusters{*testCluster()}, make(chan struct{}))
	if err != nil || len(samples) != 0 {
		t.Errorf("a manager that stands by exports %v, %v", samples, err)
	}
}
