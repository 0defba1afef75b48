// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// samplesDir is the folder of the samples; `make test-e2e` runs the tests in this package's.
var samplesDir = filepath.Join("..", "..", "config", "samples")

// sampleTests are what is promised by each sample, by the name of its file.
var sampleTests = map[string]func(t *testing.T, s *sample, clients []netip.Addr){
	"web.yaml":        useWeb,
	"dns.yaml":        useDNS,
	"database.yaml":   useDatabase,
	"dual-stack.yaml": useDualStack,
}

// TestSamples applies every sample as it is but for addresses and nodes' names, puts servers behind its virtual IPs, and is a
// client of them.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(samplesDir, "*.yaml"))
	must(t, err)
	names := make([]string, 0, len(files))
	for _, file := range files {
		if name := filepath.Base(file); name != "kustomization.yaml" {
			names = append(names, name)
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(sampleTests)), names); diff != "" {
		t.Errorf("each sample needs a test that uses it (-tests +samples):\n%s", diff)
	}
	mustListSamples(t, names)
	mustKubectl(t, "", "apply", "--dry-run=server", "-k", samplesDir)

	hostWorkload(t) // which makes the namespace
	t.Cleanup(func() {
		mustKubectl(t, "", "delete", "daemonset", sampleServers, "-n", workloadNamespace, "--ignore-not-found")
	})
	must(t, applyWorkload(t.Context(), workload{Name: sampleServers, Namespace: workloadNamespace, Port: podPort}))
	awaitWorkload(t, sampleServers, 3)
	clients := env(t).clientAddresses(t, 16)
	for name, use := range sampleTests {
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			t.Parallel()
			s := newSample(t, name)
			s.awaitConverged(t)
			use(t, s, clients)
		})
	}
}

// mustListSamples checks that kubectl apply -k config/samples leaves none out.
func mustListSamples(t *testing.T, names []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(samplesDir, "kustomization.yaml"))
	must(t, err)
	var kustomization struct{ Resources []string }
	must(t, yaml.Unmarshal(text, &kustomization))
	slices.Sort(kustomization.Resources)
	if diff := cmp.Diff(names, kustomization.Resources); diff != "" {
		t.Errorf("kustomization.yaml does not list each sample (-samples +listed):\n%s", diff)
	}
}

// sampleServers is the DaemonSet behind all samples.
const sampleServers = "sample-servers"

// sample is a cluster made from a sample, with the addresses and nodes of this cluster.
type sample struct {
	*vipCluster
	spec v1alpha1.LoadBalancingClusterSpec
}

var (
	sampleAddress = regexp.MustCompile(`\b(172\.18\.0\.\d+|fc00:f853:ccd:e793::[\da-f]{3,})\b`)
	sampleNode    = regexp.MustCompile(`\bnode-[abc]\b`)
)

// newSample applies a sample. The test removes it when it ends.
func newSample(t *testing.T, file string) *sample {
	t.Helper()
	e := env(t)
	text, err := os.ReadFile(filepath.Join(samplesDir, file))
	must(t, err)
	addresses := map[string]string{}
	manifest := sampleAddress.ReplaceAllStringFunc(string(text), func(address string) string {
		if addresses[address] == "" {
			next := e.nextVIP
			if strings.Contains(address, ":") {
				next = e.nextVIP6
			}
			addresses[address] = next(t).String()
		}
		return addresses[address]
	})
	manifest = sampleNode.ReplaceAllStringFunc(manifest, func(node string) string { return e.workers[node[len(node)-1]-'a'] })

	manifest = strings.Replace(manifest, "metadata:\n", "metadata:\n  labels: {"+madeByTest+": \"yes\"}\n", 1)

	var object v1alpha1.LoadBalancingCluster
	must(t, yaml.UnmarshalStrict([]byte(manifest), &object))
	vip, err := netip.ParseAddr(object.Spec.VirtualIPs[0])
	must(t, err)
	s := &sample{vipCluster: &vipCluster{environment: e, name: object.Name, vip: vip}, spec: object.Spec}
	if selector := object.Spec.NodeSelector; selector != nil {
		for key, value := range selector.MatchLabels {
			s.labelWorkers(t, key+"="+value, key+"-")
		}
	}
	t.Cleanup(func() { s.remove(t) })
	keepArtifacts(t)
	mustKubectl(t, manifest, "apply", "-f", "-")
	return s
}

func (s *sample) labelWorkers(t *testing.T, set, unset string) {
	t.Helper()
	label := func(change string) {
		mustKubectl(t, "", append(append([]string{"label", "node"}, s.workers...), change, "--overwrite")...)
	}
	t.Cleanup(func() { label(unset) })
	label(set)
}

// publish makes a Service with the ports of the sample's rules, and its virtual IPs as the load balancer's addresses.
func (s *sample) publish(t *testing.T) {
	t.Helper()
	no := false
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "sample-" + s.name, Namespace: workloadNamespace},
		Spec: corev1.ServiceSpec{
			Type:                          corev1.ServiceTypeLoadBalancer,
			ExternalTrafficPolicy:         corev1.ServiceExternalTrafficPolicyLocal,
			AllocateLoadBalancerNodePorts: &no,
			Selector:                      map[string]string{"app": sampleServers},
			Ports:                         s.servicePorts(),
		},
	}
	t.Cleanup(func() {
		mustKubectl(t, "", "delete", "service", service.Name, "-n", workloadNamespace, "--ignore-not-found")
	})
	must(t, s.api.Create(t.Context(), service))
	for _, vip := range s.spec.VirtualIPs {
		service.Status.LoadBalancer.Ingress = append(service.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: vip})
	}
	must(t, s.api.Status().Update(t.Context(), service))
}

func (s *sample) servicePorts() []corev1.ServicePort {
	var ports []corev1.ServicePort
	for _, rule := range s.spec.PortRules {
		for _, protocol := range []v1alpha1.Protocol{v1alpha1.ProtocolTCP, v1alpha1.ProtocolUDP} {
			if rule.Protocol != protocol && rule.Protocol != v1alpha1.ProtocolBoth {
				continue
			}
			port := corev1.ServicePort{
				Name: strings.ToLower(fmt.Sprintf("%s-%d", protocol, rule.Ports.From)), Protocol: corev1.Protocol(protocol),
				Port: rule.Ports.From, TargetPort: intstr.FromInt32(podPort),
			}
			if !slices.Contains(ports, port) {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// clientAddresses gives the machine addresses in one /24, for clients that are told apart by their address.
func (e *environment) clientAddresses(t *testing.T, count int) []netip.Addr {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "adding addresses to the bridge takes root")
	}
	var clients []netip.Addr
	for range count {
		client := e.nextVIP(t)
		args := []string{"address", "add", netip.PrefixFrom(client, client.BitLen()).String(), "dev", e.network.Bridge}
		_, err := cluster.Output(t.Context(), "ip", args...)
		must(t, err)
		t.Cleanup(func() {
			ctx, cancel := contextFor(20 * time.Second)
			defer cancel()
			args[1] = "delete"
			_, err := cluster.Output(ctx, "ip", args...)
			must(t, err)
		})
		clients = append(clients, client)
	}
	return clients
}

// answersTo connects three times from each client, and returns which node answered it; it fails if several did.
func (s *sample) answersTo(t *testing.T, target netip.AddrPort, clients []netip.Addr) map[netip.Addr]string {
	t.Helper()
	answers := map[netip.Addr]string{}
	for _, client := range clients {
		l := load{target: target, timeout: 5 * time.Second, source: client}
		within(t, 30*time.Second, fmt.Sprintf("first answer on %s to %s", target, client), func(ctx context.Context) error {
			a := connectOne(ctx, l)
			answers[client] = a.node
			return a.err
		})
		attempts := burst(t, l, 3, 3)
		mustNotFail(t, attempts)
		if byNode(attempts)[answers[client]] != len(attempts) {
			t.Errorf("%s was answered by %s, then: %s", client, answers[client], summary(attempts))
		}
	}
	t.Logf("%s: %s serves %v", s.name, target, answers)
	return answers
}

// mustUseNodes checks how many nodes answered.
func mustUseNodes(t *testing.T, answers map[netip.Addr]string, least, most int) {
	t.Helper()
	nodes := slices.Sorted(maps.Values(answers))
	if n := len(slices.Compact(nodes)); n < least || n > most {
		t.Errorf("%d nodes answered %d clients, want %d to %d: %v", n, len(answers), least, most, answers)
	}
}

// useWeb wants each connection to find a node of its own on port 80, and each client to stay with its node on 443.
func useWeb(t *testing.T, s *sample, clients []netip.Addr) {
	s.publish(t)
	http := load{target: netip.AddrPortFrom(s.vip, 80), timeout: 5 * time.Second}
	within(t, 30*time.Second, "web on every node", func(context.Context) error {
		if got := byNode(burst(t, http, 40, 8)); len(got) != len(s.workers) {
			return fmt.Errorf("answers come from %v", got)
		}
		return nil
	})
	attempts := burst(t, http, 150, 8)
	mustNotFail(t, attempts)
	t.Logf("web: %s", summary(attempts))
	mustUseNodes(t, s.answersTo(t, netip.AddrPortFrom(s.vip, 443), clients), 2, len(s.workers))
}

// useDNS wants the shares of the weights, and one node for a client's datagrams and connections.
func useDNS(t *testing.T, s *sample, clients []netip.Addr) {
	s.publish(t)
	s.awaitRuleBuckets(t, "dns", map[string]int32{s.workers[0]: 24, s.workers[1]: 24, s.workers[2]: 12})
	target := netip.AddrPortFrom(s.vip, 53)
	answers := s.answersTo(t, target, clients)
	mustUseNodes(t, answers, 2, len(s.workers))
	for client, node := range answers {
		within(t, 30*time.Second, fmt.Sprintf("a datagram's answer to %s", client), func(ctx context.Context) error {
			answered, err := askByDatagram(ctx, client, target)
			if err == nil && answered != node {
				err = fmt.Errorf("%s answered, and %s by TCP", answered, node)
			}
			return err
		})
	}
}

// askByDatagram sends one datagram and returns the answer, the node's name.
func askByDatagram(ctx context.Context, client netip.Addr, target netip.AddrPort) (string, error) {
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(client, 0))}
	conn, err := dialer.DialContext(ctx, "udp", target.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := conn.Write([]byte("who?")); err != nil {
		return "", err
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	return strings.TrimSpace(string(answer[:n])), err
}

// useDatabase wants writes on one node by priority, reads by the client's network, telnet dropped, and all other ports on
// the default host.
func useDatabase(t *testing.T, s *sample, clients []netip.Addr) {
	s.publish(t)
	first, second := s.workers[0], s.workers[1]
	read, err := netip.ParseAddr(s.spec.VirtualIPs[1])
	must(t, err)
	write := netip.AddrPortFrom(s.vip, 5432)
	s.mustAnswer(t, write, first)
	wlbs(t, exitOK, words("stop %s:%s --wait %s", s.name, first, waitLimit))
	s.mustAnswer(t, write, second)
	s.awaitRuleBuckets(t, "write", map[string]int32{second: 60})
	wlbs(t, exitOK, words("start %s:%s --wait %s", s.name, first, waitLimit))
	s.mustAnswer(t, write, first)

	mustUseNodes(t, s.answersTo(t, netip.AddrPortFrom(read, 5432), clients[:6]), 1, 1)

	closed := load{target: netip.AddrPortFrom(s.vip, 24), timeout: 5 * time.Second}
	if a := connectOne(t.Context(), closed); !errors.Is(a.err, syscall.ECONNREFUSED) {
		t.Errorf("port 24, where nothing listens: %v (%s), want the default host's refusal", a.err, a.node)
	}
	for _, vip := range s.spec.VirtualIPs {
		telnet := load{target: netip.AddrPortFrom(netip.MustParseAddr(vip), 23), timeout: 2 * time.Second}
		var timeout net.Error
		if a := connectOne(t.Context(), telnet); !errors.As(a.err, &timeout) || !timeout.Timeout() {
			t.Errorf("telnet on %s: %v (%s), want silence", vip, a.err, a.node)
		}
	}
}

// useDualStack wants one node for each client on both addresses' families, served by processes on the nodes' own network.
func useDualStack(t *testing.T, s *sample, clients []netip.Addr) {
	const servers = "sample-host-servers"
	t.Cleanup(func() {
		mustKubectl(t, "", "delete", "daemonset", servers, "-n", workloadNamespace, "--ignore-not-found")
	})
	port := uint16(s.spec.PortRules[0].Ports.From)
	must(t, applyWorkload(t.Context(), workload{Name: servers, Namespace: workloadNamespace, Port: int(port), HostNetwork: true}))
	awaitWorkload(t, servers, 3)
	mustUseNodes(t, s.answersTo(t, netip.AddrPortFrom(s.vip, port), clients), 2, len(s.workers))

	// The machine has one IPv6 address on the bridge: one client.
	six, err := netip.ParseAddr(s.spec.VirtualIPs[1])
	must(t, err)
	attempts := burst(t, load{target: netip.AddrPortFrom(six, port), timeout: 5 * time.Second}, 30, 8)
	t.Logf("dual-stack: %s", summary(attempts))
	mustNotFail(t, attempts)
	if nodes := byNode(attempts); len(nodes) != 1 {
		t.Errorf("one client was answered by several nodes: %v", nodes)
	}
}
