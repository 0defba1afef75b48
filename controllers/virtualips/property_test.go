// SPDX-License-Identifier: Apache-2.0

package virtualips

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// TestNeverAssignedTwice lets people, nodes, agents and managers act in any order. Agents read, act and report whenever they like, and a
// manager may end between any two of its writes. At no time do hosts of two clusters serve one address, and no cluster loses one
// that it lists. When all have come to rest, every address that can be assigned is assigned and served.
func TestNeverAssignedTwice(t *testing.T) {
	histories, steps := uint64(6000), 120
	if testing.Short() {
		histories = 400
	}
	for seed := range histories {
		m := newModel(t, seed)
		for range steps {
			m.step()
			m.check()
		}
		m.rest()
	}
}

// model is an API server and those who use it.
type model struct {
	t       *testing.T
	random  *rand.Rand
	seed    uint64
	history []string

	clock    int
	clusters map[string]*v1alpha1.LoadBalancingCluster
	hosts    map[string]*v1alpha1.LoadBalancingHost
	agents   map[string]*agentModel
	nodes    map[string]string // address by node
	// writes are those of the manager's last decision that are not done yet.
	writes []func()
}

func newModel(t *testing.T, seed uint64) *model {
	return &model{
		t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 0)),
		clusters: map[string]*v1alpha1.LoadBalancingCluster{}, hosts: map[string]*v1alpha1.LoadBalancingHost{},
		agents: map[string]*agentModel{}, nodes: map[string]string{},
	}
}

// step does one thing, if it can be done.
func (m *model) step() {
	steps := []struct {
		name  string
		often int
		do    func()
	}{
		{"agents work", 4, m.agentsWork},
		{"agent reads", 8, m.agentReads},
		{"agent acts", 8, m.agentActs},
		{"agent reports", 4, m.agentReports},
		{"manager works", 8, m.work},
		{"manager looks", 4, m.look},
		{"manager writes", 8, m.write},
		{"manager ends", 1, func() { m.writes = nil }},
		{"create cluster", 4, m.createCluster},
		{"add host", 8, m.addHost},
		{"edit spec", 8, m.editSpec},
		{"delete cluster", 1, m.deleteCluster},
		{"remove by force", 1, m.removeByForce},
		{"lose status", 1, m.loseStatus},
		{"node address", 2, m.changeNode},
	}
	sum := 0
	for _, s := range steps {
		sum += s.often
	}
	at := m.random.IntN(sum)
	for _, s := range steps {
		if at -= s.often; at < 0 {
			m.history = append(m.history, s.name)
			s.do()
			return
		}
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("history %d: %s\n%s", m.seed, fmt.Sprintf(format, args...), strings.Join(m.history, "\n"))
}

func (m *model) one(from ...string) string {
	chosen := from[m.random.IntN(len(from))]
	m.history = append(m.history, "  "+chosen)
	return chosen
}

// agentModel is what an agent does for one host.
type agentModel struct {
	// read is the newest spec that it knows, by which it acts a while later. It reports the generation of the former.
	read, acted *v1alpha1.LoadBalancingHost
	listed      []string // by the cluster's spec, when the host was read
	serves      []string
}

// addresses are those that clusters list; now and then a node has the last of them.
var addresses = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}

func (m *model) version() string { m.clock++; return fmt.Sprint(m.clock) }

// pick returns one of the values, if there is any.
func pick[V any](m *model, from map[string]V) (name string, value V, ok bool) {
	if len(from) == 0 {
		return name, value, false
	}
	name = m.one(slices.Sorted(maps.Keys(from))...)
	return name, from[name], true
}

// draw returns some of the addresses, in any order.
func (m *model) draw() []string {
	drawn := slices.Clone(addresses)
	m.random.Shuffle(len(drawn), func(i, j int) { drawn[i], drawn[j] = drawn[j], drawn[i] })
	drawn = drawn[:1+m.random.IntN(len(drawn))]
	m.history = append(m.history, "  "+strings.Join(drawn, " "))
	return drawn
}

func (m *model) createCluster() {
	name := m.one("a", "b")
	if m.clusters[name] != nil || len(m.hostsOf(name)) > 0 {
		return
	}
	m.clusters[name] = &v1alpha1.LoadBalancingCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: m.version(), CreationTimestamp: metav1.NewTime(epoch.Add(time.Duration(m.clock/8) * time.Second))},
		Spec:       v1alpha1.LoadBalancingClusterSpec{VirtualIPs: m.draw()},
	}
}

func (m *model) editSpec() {
	_, c, ok := pick(m, m.clusters)
	if !ok {
		return
	}
	primary := c.Spec.VirtualIPs[0]
	c.Spec.VirtualIPs = append([]string{primary}, slices.DeleteFunc(m.draw(), func(ip string) bool { return ip == primary })...)
	c.ResourceVersion = m.version()
}

func (m *model) deleteCluster() {
	name, c, ok := pick(m, m.clusters)
	if !ok {
		return
	}
	c.DeletionTimestamp, c.ResourceVersion = &metav1.Time{Time: epoch}, m.version()
	for _, h := range m.hostsOf(name) {
		h.DeletionTimestamp, h.ResourceVersion = &metav1.Time{Time: epoch}, m.version()
	}
	m.collect(name)
}

// removeByForce takes the finalizer from a cluster. Its hosts are deleted, and their agents let them go.
func (m *model) removeByForce() {
	name, _, ok := pick(m, m.clusters)
	if !ok {
		return
	}
	delete(m.clusters, name)
	for _, h := range m.hostsOf(name) {
		h.DeletionTimestamp, h.ResourceVersion = &metav1.Time{Time: epoch}, m.version()
	}
}

// loseStatus restores a cluster from a backup that has no status, in a quiet moment.
func (m *model) loseStatus() {
	name, c, ok := pick(m, m.clusters)
	if !ok {
		return
	}
	for _, h := range m.hostsOf(name) {
		if mayServe(h, "none") {
			return
		}
	}
	c.Status.VirtualIPs, c.ResourceVersion = nil, m.version()
}

// collect removes a deleted cluster after its last host.
func (m *model) collect(cluster string) {
	if c := m.clusters[cluster]; c != nil && !c.DeletionTimestamp.IsZero() && len(m.hostsOf(cluster)) == 0 {
		delete(m.clusters, cluster)
	}
}

func (m *model) hostsOf(cluster string) []*v1alpha1.LoadBalancingHost {
	var hosts []*v1alpha1.LoadBalancingHost
	for _, h := range m.hosts {
		if h.Spec.ClusterName == cluster {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (m *model) addHost() {
	cluster, c, ok := pick(m, m.clusters)
	if !ok {
		return
	}
	name := cluster + "." + m.one("n", "o")
	if m.hosts[name] != nil || !c.DeletionTimestamp.IsZero() {
		return
	}
	m.hosts[name] = &v1alpha1.LoadBalancingHost{
		ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: m.version(), Generation: 1},
		Spec:       v1alpha1.LoadBalancingHostSpec{ClusterName: cluster},
	}
	m.agents[name] = &agentModel{}
}

func (m *model) changeNode() {
	name := m.one("n", "o")
	m.nodes[name] = m.one(addresses[2], "")
}

func (m *model) agentReads() {
	if name, agent, ok := pick(m, m.agents); ok {
		m.read(name, agent)
	}
}

func (m *model) read(name string, agent *agentModel) {
	agent.read = m.hosts[name].DeepCopy()
	agent.listed = nil
	if c := m.clusters[agent.read.Spec.ClusterName]; c != nil {
		agent.listed = slices.Clone(c.Spec.VirtualIPs)
	}
}

func (m *model) agentActs() {
	if _, agent, ok := pick(m, m.agents); ok {
		agent.act()
	}
}

func (a *agentModel) act() {
	if a.read == nil {
		return
	}
	a.acted, a.serves = a.read, nil
	if !a.acted.DeletionTimestamp.IsZero() {
		return
	}
	for _, ip := range a.listed {
		if slices.Contains(a.acted.Spec.VirtualIPs, ip) {
			a.serves = append(a.serves, ip)
		}
	}
}

func (m *model) agentReports() {
	if name, agent, ok := pick(m, m.agents); ok {
		m.report(name, agent)
	}
}

func (m *model) report(name string, agent *agentModel) {
	if agent.acted == nil {
		return
	}
	h := m.hosts[name]
	if !agent.acted.DeletionTimestamp.IsZero() { // it removes its finalizer
		delete(m.hosts, name)
		delete(m.agents, name)
		m.collect(h.Spec.ClusterName)
		return
	}
	h.Status.Dataplane.VirtualIPs = slices.Clone(agent.serves)
	h.Status.ObservedGeneration = new(agent.read.Generation)
	h.ResourceVersion = m.version()
}

// world is what the API server answers.
func (m *model) world() World {
	var w World
	for _, c := range m.clusters {
		w.Clusters = append(w.Clusters, *c.DeepCopy())
	}
	for _, h := range m.hosts {
		w.Hosts = append(w.Hosts, *h.DeepCopy())
	}
	for name, address := range m.nodes {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
		n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}
		w.Nodes = append(w.Nodes, n)
	}
	return w
}

// look is that of a manager that has done, or lost, all writes of the look before.
func (m *model) look() {
	w := m.world()
	nodes := maps.Clone(m.nodes)
	d := Decide(w)
	m.writes = nil
	for i := range w.Clusters {
		if ips, ok := d.Assigned[w.Clusters[i].Name]; ok {
			m.writes = append(m.writes, func() { m.assign(&w.Clusters[i], ips, nodes) })
		}
	}
	for i := range w.Hosts {
		if ips, ok := d.Served[w.Hosts[i].Name]; ok {
			m.writes = append(m.writes, func() { m.serve(&w.Hosts[i], ips) })
		}
	}
}

func (m *model) assign(seen *v1alpha1.LoadBalancingCluster, ips []string, nodes map[string]string) {
	c := m.clusters[seen.Name]
	if c == nil || c.ResourceVersion != seen.ResourceVersion {
		return
	}
	for _, ip := range c.Status.VirtualIPs {
		if slices.Contains(c.Spec.VirtualIPs, ip) && !slices.Contains(ips, ip) {
			m.fail("cluster %s loses %s, which it lists", c.Name, ip)
		}
	}
	for _, ip := range ips {
		if isNew := !slices.Contains(c.Status.VirtualIPs, ip); isNew && slices.Contains(slices.Collect(maps.Values(nodes)), ip) {
			m.fail("cluster %s gets %s, a node's own address", c.Name, ip)
		}
	}
	c.Status.VirtualIPs, c.ResourceVersion = ips, m.version()
}

func (m *model) serve(seen *v1alpha1.LoadBalancingHost, ips []string) {
	h := m.hosts[seen.Name]
	if h == nil || h.ResourceVersion != seen.ResourceVersion {
		return
	}
	h.Spec.VirtualIPs, h.ResourceVersion = ips, m.version()
	h.Generation++
}

func (m *model) write() {
	if len(m.writes) == 0 {
		return
	}
	at := m.random.IntN(len(m.writes))
	write := m.writes[at]
	m.writes = slices.Delete(m.writes, at, at+1)
	write()
}

func (m *model) work() {
	m.look()
	for _, write := range m.writes {
		write()
		m.check()
	}
	m.writes = nil
}

func (m *model) agentsWork() {
	for name, agent := range maps.Clone(m.agents) {
		m.read(name, agent)
		agent.act()
		m.report(name, agent)
	}
}

func (m *model) check() {
	servedBy := map[string]string{}
	for name, agent := range m.agents {
		cluster := m.hosts[name].Spec.ClusterName
		for _, ip := range agent.serves {
			if other, taken := servedBy[ip]; taken && other != cluster {
				m.fail("%s is served by hosts of %s and %s", ip, other, cluster)
			}
			servedBy[ip] = cluster
		}
	}
}

// rest lets all come to rest and checks that what can be assigned is assigned to one who lists it, and served by all its hosts.
func (m *model) rest() {
	for round := 0; ; round++ {
		m.agentsWork()
		m.look()
		if len(m.writes) == 0 && round > 2 {
			break
		}
		if round > 20 {
			m.fail("no rest")
		}
		for _, write := range m.writes {
			write()
			m.check()
		}
	}
	wanted := map[string]bool{}
	assigned := map[string]*v1alpha1.LoadBalancingCluster{}
	for _, c := range m.clusters {
		for _, ip := range c.Status.VirtualIPs {
			if assigned[ip] != nil || !slices.Contains(c.Spec.VirtualIPs, ip) {
				m.fail("%s is assigned to %s, which lists %v, and %v", ip, c.Name, c.Spec.VirtualIPs, assigned[ip])
			}
			assigned[ip] = c
		}
		for _, ip := range c.Spec.VirtualIPs {
			wanted[ip] = true
		}
	}
	for ip := range wanted {
		if assigned[ip] == nil && !slices.Contains(slices.Collect(maps.Values(m.nodes)), ip) {
			m.fail("%s is assigned to none", ip)
		}
	}
	for name, agent := range m.agents {
		if assigned := m.clusters[m.hosts[name].Spec.ClusterName].Status.VirtualIPs; !slices.Equal(agent.serves, assigned) {
			m.fail("host %s serves %v, its cluster has %v", name, agent.serves, assigned)
		}
	}
}
