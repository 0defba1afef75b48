// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// clusters is a reader of these LoadBalancingClusters.
type clusters []v1alpha1.LoadBalancingCluster

func (c clusters) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return errors.ErrUnsupported
}

func (c clusters) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	into, ok := list.(*v1alpha1.LoadBalancingClusterList)
	if !ok || c == nil {
		return errors.ErrUnsupported
	}
	into.Items = c
	return nil
}

// scrape returns the samples as name{label=value,...}=value.
func scrape(t *testing.T, reader client.Reader) (map[string]float64, error) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(NewMetrics(reader)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	samples := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			samples[f.GetName()+labelWords(m)] = m.GetGauge().GetValue()
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
	if diff := cmp.Diff(want, samples); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetricsOfNewCluster(t *testing.T) {
	samples, err := scrape(t, clusters{*testCluster()})
	if err != nil || len(samples) != 0 {
		t.Errorf("a cluster without status has %v, %v", samples, err)
	}
}

func TestMetricsSayWhenTheyCannotRead(t *testing.T) {
	if _, err := scrape(t, clusters(nil)); err == nil {
		t.Error("a failed read looks like no clusters")
	}
}
