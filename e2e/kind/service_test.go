// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestServiceBehindVirtualIP reaches pods on their own network through kube-proxy: a Service whose load-balancer address is
// the virtual IP, with externalTrafficPolicy Local. Each worker serves its share, and pods see the client's own address.
func TestServiceBehindVirtualIP(t *testing.T) {
	t.Parallel()
	hostWorkload(t) // which makes the namespace
	const servicePort = 8088
	t.Cleanup(func() {
		mustKubectl(t, "", "delete", "service,daemonset", "pods", "-n", workloadNamespace, "--ignore-not-found")
	})
	must(t, applyWorkload(t.Context(), workload{Name: "pods", Namespace: workloadNamespace, Port: podPort}))
	awaitWorkload(t, "pods", 3)
	c := newCluster(t, "service", rule("service", servicePort, v1alpha1.AffinityNone))
	c.publish(t, servicePort)
	c.awaitConverged(t)

	l := c.patient()
	l.target = netip.AddrPortFrom(c.vip, servicePort)
	within(t, time.Minute, "kube-proxy to take the virtual IP over", func(ctx context.Context) error {
		for range 20 {
			if a := connectOne(ctx, l); a.err != nil {
				return fmt.Errorf("connection: %w", a.err)
			}
		}
		return nil
	})
	attempts := burst(t, l, 200, 8)
	t.Logf("service: %s", summary(attempts))
	mustNotFail(t, attempts)
	if counts := byNode(attempts); len(counts) != len(c.workers) {
		t.Errorf("pods on %d nodes answered, want %d", len(counts), len(c.workers))
	}
}

// publish makes a Service for the pods, with the virtual IP as its load balancer's address.
func (c *vipCluster) publish(t *testing.T, port int32) {
	t.Helper()
	no := false
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "pods", Namespace: workloadNamespace},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			ExternalTrafficPolicy:         corev1.ServiceExternalTrafficPolicyLocal,
			AllocateLoadBalancerNodePorts: &no,
			Selector:                      map[string]string{"app": "pods"},
			Ports:                         []corev1.ServicePort{{Name: "http", Port: port, TargetPort: intstr.FromInt32(podPort)}},
		},
	}
	must(t, c.api.Create(t.Context(), service))
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: c.vip.String()}}
	must(t, c.api.Status().Update(t.Context(), service))
}
