// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// Bounds that hold on two cores which everything shares; what a test measured is in its log.
const (
	// convergeLimit bounds the time from kubectl apply to a converged cluster, the start of the agents' pods included.
	convergeLimit = 90 * time.Second
	// reportLimit bounds the time from an event on the wire to kubectl get.
	reportLimit = 30 * time.Second
	// removalLimit bounds the time from kubectl delete to nothing left.
	removalLimit = 90 * time.Second
)

// vipCluster is a LoadBalancingCluster under test.
type vipCluster struct {
	*environment
	name string
	vip  netip.Addr
}

// usedVIPs counts the virtual IPs that tests of this run have used. None is used twice, so that no neighbour table holds
// an address of an earlier test.
var usedVIPs atomic.Int32

func (e *environment) nextVIP(t *testing.T) netip.Addr {
	t.Helper()
	vip, err := e.network.VirtualIP(lab.FirstTestVirtualIP + int(usedVIPs.Add(1)) - 1)
	must(t, err)
	return vip
}

// specOption changes the spec that newCluster starts from.
type specOption func(*v1alpha1.LoadBalancingClusterSpec)

// selecting limits the cluster to the nodes with a label.
func selecting(key, value string) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
	}
}

// rule sets the port rules to one.
func rule(name string, port int32, affinity v1alpha1.Affinity) specOption {
	return func(s *v1alpha1.LoadBalancingClusterSpec) {
		s.PortRules = []v1alpha1.PortRule{{
			Name: name, Ports: v1alpha1.PortRange{From: port, To: port}, Protocol: v1alpha1.ProtocolTCP, Affinity: affinity,
		}}
	}
}

// newCluster applies a LoadBalancingCluster with a virtual IP of its own and one rule, for the workload's port, by which
// each connection is placed on its own. The test removes it when it ends.
func newCluster(t *testing.T, name string, options ...specOption) *vipCluster {
	t.Helper()
	return newClusterAtOnce(t, env(t), name, options...)
}

// newClusterAtOnce is newCluster that does not wait until all nodes are ready.
func newClusterAtOnce(t *testing.T, e *environment, name string, options ...specOption) *vipCluster {
	t.Helper()
	c := &vipCluster{environment: e, name: name, vip: e.nextVIP(t)}
	spec := v1alpha1.LoadBalancingClusterSpec{VirtualIPs: []string{c.vip.String()}}
	rule("http", workloadPort, v1alpha1.AffinityNone)(&spec)
	for _, option := range options {
		option(&spec)
	}
	t.Cleanup(func() { c.remove(t) })
	keepArtifacts(t)
	c.apply(t, spec)
	return c
}

// apply gives the spec to kubectl apply, as users do.
func (c *vipCluster) apply(t *testing.T, spec v1alpha1.LoadBalancingClusterSpec) {
	t.Helper()
	manifest, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       "LoadBalancingCluster",
		"metadata":   map[string]any{"name": c.name, "labels": map[string]string{madeByTest: "yes"}},
		"spec":       spec,
	})
	must(t, err)
	mustKubectl(t, string(manifest), "apply", "-f", "-")
}

// update changes the spec.
func (c *vipCluster) update(t *testing.T, option specOption) {
	t.Helper()
	object, err := c.get(t.Context())
	must(t, err)
	option(&object.Spec)
	c.apply(t, object.Spec)
}

// remove deletes the cluster and waits until it and its hosts are gone. It may be called twice.
func (c *vipCluster) remove(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	mustKubectl(t, "", "delete", "lbc", c.name, "--ignore-not-found", "--wait=false")
	within(t, removalLimit, "removal of cluster "+c.name, func(ctx context.Context) error {
		if _, err := c.get(ctx); !apierrors.IsNotFound(err) {
			return orStillThere(err)
		}
		hosts, err := c.hosts(ctx)
		if err == nil && len(hosts) > 0 {
			err = fmt.Errorf("there are still %d hosts", len(hosts))
		}
		return err
	})
	return time.Since(start)
}

// orStillThere is the error of a Get that should have found nothing.
func orStillThere(err error) error {
	if err == nil {
		return errors.New("it is still there")
	}
	return err
}

func (c *vipCluster) get(ctx context.Context) (*v1alpha1.LoadBalancingCluster, error) {
	var object v1alpha1.LoadBalancingCluster
	err := c.api.Get(ctx, client.ObjectKey{Name: c.name}, &object)
	return &object, err
}

// hosts returns the cluster's hosts by host ID.
func (c *vipCluster) hosts(ctx context.Context) ([]v1alpha1.LoadBalancingHost, error) {
	var list v1alpha1.LoadBalancingHostList
	if err := c.api.List(ctx, &list, client.MatchingFields{"spec.clusterName": c.name}); err != nil {
		return nil, err
	}
	slices.SortFunc(list.Items, func(a, b v1alpha1.LoadBalancingHost) int { return int(a.Spec.HostID - b.Spec.HostID) })
	return list.Items, nil
}

// host returns the host on a node.
func (c *vipCluster) host(ctx context.Context, node string) (*v1alpha1.LoadBalancingHost, error) {
	var object v1alpha1.LoadBalancingHost
	err := c.api.Get(ctx, client.ObjectKey{Name: v1alpha1.HostObjectName(c.name, node)}, &object)
	return &object, err
}

// target is the virtual IP and the workload's port.
func (c *vipCluster) target() netip.AddrPort { return netip.AddrPortFrom(c.vip, workloadPort) }
