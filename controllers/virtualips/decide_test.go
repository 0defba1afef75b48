// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const a, b = "192.0.2.10", "192.0.2.11"

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// cluster is one created so many seconds after the epoch, which lists some addresses and has others assigned.
func cluster(name string, created int, listed, assigned []string) v1alpha1.LoadBalancingCluster {
	return v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(created) * time.Second))},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: listed},
		Status:     v1alpha1.LoadBalancingClusterStatus{VirtualIPs: assigned},
	}
}

func deleted(c v1alpha1.LoadBalancingCluster) v1alpha1.LoadBalancingCluster {
	c.DeletionTimestamp = &metav1.Time{Time: epoch}
	return c
}

// host is one of a cluster that is to serve some addresses and says that it serves others. It has acted on its newest spec.
func host(cluster string, wanted, serves []string) v1alpha1.LoadBalancingHost {
	return v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: cluster + ".n", Generation: 2},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: cluster, NodeName: "n", VirtualIPs: wanted},
		Status: v1alpha1.LoadBalancingHostStatus{
			ObservedGeneration: new(int64(2)), Dataplane: v1alpha1.HostDataplane{VirtualIPs: serves},
		},
	}
}

// behind has not acted on its newest spec yet.
func behind(h v1alpha1.LoadBalancingHost) v1alpha1.LoadBalancingHost {
	h.Status.ObservedGeneration = new(int64(1))
	return h
}

func leaving(h v1alpha1.LoadBalancingHost) v1alpha1.LoadBalancingHost {
	h.DeletionTimestamp = &metav1.Time{Time: epoch}
	return h
}

func node(name string, addresses ...string) corev1.Node {
	n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, address := range addresses {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: address})
	}
	return n
}

func TestDecide(t *testing.T) {
	type (
		clusters = []v1alpha1.LoadBalancingCluster
		hosts    = []v1alpha1.LoadBalancingHost
		ips      = []string
		m        = map[string][]string
	)
	for _, tc := range []struct {
		name             string
		world            World
		assigned, served m
	}{
		{name: "nothing"},
		{
			name:  "a free address goes to who asks, and to the hosts only when that is persisted",
			world: World{Clusters: clusters{cluster("web", 0, ips{a, b}, nil)}, Hosts: hosts{host("web", nil, nil)}}, assigned: m{"web": {a, b}},
		},
		{
			name:  "hosts get what is persisted",
			world: World{Clusters: clusters{cluster("web", 0, ips{a, b}, ips{a})}, Hosts: hosts{host("web", nil, nil)}}, assigned: m{"web": {a, b}}, served: m{"web.n": {a}},
		},
		{name: "all is done", world: World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a})}, Hosts: hosts{host("web", ips{a}, ips{a})}}},
		{name: "of two who ask the older gets it", world: World{Clusters: clusters{cluster("a", 9, ips{a}, nil), cluster("z", 0, ips{a}, nil)}}, assigned: m{"z": {a}}},
		{name: "of two of one age the first by name", world: World{Clusters: clusters{cluster("z", 0, ips{a}, nil), cluster("a", 0, ips{a}, nil)}}, assigned: m{"a": {a}}},
		{name: "who has it keeps it against an older one", world: World{Clusters: clusters{cluster("a", 0, ips{a}, nil), cluster("z", 9, ips{a}, ips{a})}}},
		{name: "one that is being deleted gets nothing", world: World{Clusters: clusters{deleted(cluster("web", 0, ips{a}, nil))}}},
		{
			name: "one that is being deleted keeps what is assigned to it, and its hosts what they serve",
			world: World{
				Clusters: clusters{deleted(cluster("old", 0, ips{a}, ips{a})), cluster("new", 1, ips{a}, nil)},
				Hosts:    hosts{leaving(host("old", ips{a}, ips{a}))},
			},
		},
		{
			name:  "hosts of a cluster that is gone keep its addresses",
			world: World{Clusters: clusters{cluster("new", 1, ips{a, b}, nil)}, Hosts: hosts{host("old", nil, ips{a})}}, assigned: m{"new": {b}},
		},
		{name: "a node's own address is refused", world: World{Clusters: clusters{cluster("web", 0, ips{a, b}, nil)}, Nodes: []corev1.Node{node("n", a)}}, assigned: m{"web": {b}}},
		{
			name:   "the address of a node that came later is not taken away",
			world:  World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a})}, Hosts: hosts{host("web", nil, nil)}, Nodes: []corev1.Node{node("n", a)}},
			served: m{"web.n": {a}},
		},
		{
			name:   "an address that is no longer listed leaves the hosts first",
			world:  World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a, b})}, Hosts: hosts{host("web", ips{a, b}, ips{a, b})}},
			served: m{"web.n": {a}},
		},
		{name: "their agents have to say so", world: World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a, b})}, Hosts: hosts{host("web", ips{a}, ips{a, b})}}},
		{name: "and to act on it", world: World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a, b})}, Hosts: hosts{behind(host("web", ips{a}, ips{a}))}}},
		{
			name:  "then it is let go, and given away by the next look",
			world: World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a, b}), cluster("new", 1, ips{b}, nil)}, Hosts: hosts{host("web", ips{a}, ips{a})}}, assigned: m{"web": {a}},
		},
		{
			name:  "who lists again what is still assigned to it keeps it",
			world: World{Clusters: clusters{cluster("web", 0, ips{a, b}, ips{a, b})}, Hosts: hosts{host("web", ips{a}, ips{a, b})}}, served: m{"web.n": {a, b}},
		},
		{
			name:     "of two statuses with one address that of the cluster whose hosts serve it counts",
			world:    World{Clusters: clusters{cluster("a", 0, ips{a}, ips{a}), cluster("z", 9, ips{a}, ips{a})}, Hosts: hosts{host("z", ips{a}, ips{a})}},
			assigned: m{"a": nil},
		},
		{
			name:     "after a loss of all status those that serve an address go on, and get it again",
			world:    World{Clusters: clusters{cluster("a", 0, ips{a}, nil), cluster("z", 9, ips{a}, nil)}, Hosts: hosts{host("a", nil, nil), host("z", ips{a}, ips{a})}},
			assigned: m{"z": {a}},
		},
		{
			name:  "no host gets it while another cluster's host still has the address",
			world: World{Clusters: clusters{cluster("web", 0, ips{a}, ips{a})}, Hosts: hosts{host("web", nil, nil), host("stray", nil, ips{a})}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Decide(tc.world)
			want := Decision{Assigned: tc.assigned, Served: tc.served}
			if want.Assigned == nil {
				want.Assigned = m{}
			}
			if want.Served == nil {
				want.Served = m{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
