// SPDX-License-Identifier: Apache-2.0

package status

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// metricsTimeout bounds the reading of the manager's cache for one scrape.
const metricsTimeout = 5 * time.Second

// Metrics exports what the status of the LoadBalancingClusters says. It reads them when it is scraped, so no series of
// a deleted cluster or host is left behind. A manager that stands by exports nothing: each series comes from one
// manager.
type Metrics struct {
	reader    client.Reader
	elected   <-chan struct{}
	hosts     *prometheus.Desc
	stalled   *prometheus.Desc
	condition *prometheus.Desc
	epoch     *prometheus.Desc

	connections *prometheus.Desc
	untracked   *prometheus.Desc
	packets     *prometheus.Desc
	opened      *prometheus.Desc
}

// NewMetrics returns a collector that reads from reader, which should be a cache, as soon as elected is closed.
func NewMetrics(reader client.Reader, elected <-chan struct{}) *Metrics {
	return &Metrics{
		reader: reader, elected: elected,
		hosts: prometheus.NewDesc("wlbs_cluster_hosts",
			"Hosts of a LoadBalancingCluster by what they are: desired, members, converged or stalled.",
			[]string{"cluster", "kind"}, nil),
		stalled: prometheus.NewDesc("wlbs_host_stalled",
			"1 while a host carries no traffic although it should; there is no series for other hosts.",
			[]string{"cluster", "node", "reason"}, nil),
		condition: prometheus.NewDesc("wlbs_cluster_condition",
			"1 for the present status of a condition of a LoadBalancingCluster, 0 for the others.",
			[]string{"cluster", "condition", "status"}, nil),
		epoch: prometheus.NewDesc("wlbs_cluster_epoch",
			"Number of the view in force of a LoadBalancingCluster.", []string{"cluster"}, nil),
		connections: prometheus.NewDesc("wlbs_host_connections",
			"TCP connections that a host tracked at its last report.", []string{"cluster", "node"}, nil),
		untracked: prometheus.NewDesc("wlbs_host_untracked_connections_total",
			"TCP connections that a host accepted while its connection table was full.", []string{"cluster", "node"}, nil),
		packets: prometheus.NewDesc("wlbs_rule_packets_total",
			"Packets of a port rule that a host accepted, or dropped because a peer or nobody has them.",
			[]string{"cluster", "node", "rule", "verdict"}, nil),
		opened: prometheus.NewDesc("wlbs_rule_connection_requests_total",
			"TCP connection requests of a port rule that a host accepted.", []string{"cluster", "node", "rule"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.hosts
	ch <- m.stalled
	ch <- m.condition
	ch <- m.epoch
	ch <- m.connections
	ch <- m.untracked
	ch <- m.packets
	ch <- m.opened
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	select {
	case <-m.elected:
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	var clusters v1alpha1.LoadBalancingClusterList
	if err := m.reader.List(ctx, &clusters); err != nil {
		ch <- prometheus.NewInvalidMetric(m.hosts, err)
		return
	}
	for i := range clusters.Items {
		m.collect(ch, &clusters.Items[i])
	}
	var hosts v1alpha1.LoadBalancingHostList
	if err := m.reader.List(ctx, &hosts); err != nil {
		ch <- prometheus.NewInvalidMetric(m.connections, err)
		return
	}
	for i := range hosts.Items {
		m.collectTraffic(ch, &hosts.Items[i])
	}
}

// collectTraffic exports a host's counters of its last report, which is up to 30 s old.
func (m *Metrics) collectTraffic(ch chan<- prometheus.Metric, host *v1alpha1.LoadBalancingHost) {
	put := func(desc *prometheus.Desc, kind prometheus.ValueType, value *int64, labels ...string) {
		if value != nil {
			ch <- prometheus.MustNewConstMetric(desc, kind, float64(*value),
				append([]string{host.Spec.ClusterName, host.Spec.NodeName}, labels...)...)
		}
	}
	traffic := &host.Status.Traffic
	put(m.connections, prometheus.GaugeValue, traffic.Connections)
	put(m.untracked, prometheus.CounterValue, traffic.Untracked)
	for i := range traffic.Rules {
		rule := &traffic.Rules[i]
		put(m.packets, prometheus.CounterValue, rule.Accepted, rule.Rule, "accepted")
		put(m.packets, prometheus.CounterValue, rule.Dropped, rule.Rule, "dropped")
		put(m.opened, prometheus.CounterValue, rule.Opened, rule.Rule)
	}
}

func (m *Metrics) collect(ch chan<- prometheus.Metric, cluster *v1alpha1.LoadBalancingCluster) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, append([]string{cluster.Name}, labels...)...)
	}
	counts := cluster.Status.HostCounts
	for kind, count := range map[string]*int32{
		"desired": counts.Desired, "members": counts.Members, "converged": counts.Converged, "stalled": counts.Stalled,
	} {
		if count != nil {
			gauge(m.hosts, float64(*count), kind)
		}
	}
	for _, h := range cluster.Status.Hosts {
		if h.StallReason != "" {
			gauge(m.stalled, 1, h.NodeName, string(h.StallReason))
		}
	}
	for _, c := range cluster.Status.Conditions {
		for _, status := range []metav1.ConditionStatus{
			metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown,
		} {
			value := 0.0
			if c.Status == status {
				value = 1
			}
			gauge(m.condition, value, c.Type, string(status))
		}
	}
	if cluster.Status.Epoch != nil {
		gauge(m.epoch, float64(*cluster.Status.Epoch))
	}
}
