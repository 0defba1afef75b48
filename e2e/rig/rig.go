// SPDX-License-Identifier: Apache-2.0

// Package rig runs the real agent on hosts that are network namespaces on one bridge, with clients in another
// namespace: convergence, failover, stalls and packet paths without Kubernetes, virtual machines or images.
//
// It needs root, tc and a kernel with veth, bridge, HTB and eBPF. Everything it makes has the rig's prefix
// in its name or a process ID in its books, so that rigs run side by side and each takes down
// its own only.
package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

const (
	// MaxHosts of a rig; the network has more room for clients than for hosts.
	MaxHosts = 32
	// Clients is how many addresses the client namespace has.
	Clients = 240
	// ClusterName of the cluster file.
	ClusterName = "web"
	// HTTPPort is the port of the rule "http".
	HTTPPort = 80

	hostInterface = "eth0"
	bridge        = "br0"
)

// Options of a rig.
type Options struct {
	// Hosts is how many there are, 1..MaxHosts.
	Hosts int
	// Agent is the path of the wlbs-agent binary.
	Agent string
	// Dir holds files, logs and sockets. It must be short: unix socket paths end at 107 bytes.
	Dir string
	// Prefix of all names, at most 8 characters; empty means one made of the process ID.
	Prefix string
	// Change edits the cluster before the first start.
	Change func(*v1alpha1.LoadBalancingCluster)
	// Detach lets servers and agents outlive the process that started them.
	Detach bool
	// Server is the command that runs the role of a server; empty means this executable.
	Server string
	// Cards connect client and hosts instead of a bridge; nil means the bridge.
	Cards *Cards
	// Several makes the agents read a directory of cluster files, so that a rig can have more than one: see Rig.Add.
	Several bool
	// AgentFlags and AgentEnv are added to those of all agents.
	AgentFlags, AgentEnv []string
}

// Rig is a running one.
type Rig struct {
	// Hosts in the order of their IDs.
	Hosts []*Host
	// Bridge and Client are the namespaces of the network and of all clients.
	Bridge, Client *Namespace
	// Cluster is what the cluster file holds; WriteCluster puts changes into force.
	Cluster *v1alpha1.LoadBalancingCluster

	opts    Options
	mounted bool
	learned learned
}

// New builds the network and starts the servers, but no agent.
func New(opts Options) (*Rig, error) {
	if opts.Hosts < 1 || opts.Hosts > MaxHosts {
		return nil, fmt.Errorf("%d hosts, want 1..%d", opts.Hosts, MaxHosts)
	}
	if opts.Prefix == "" {
		opts.Prefix = fmt.Sprintf("r%x", os.Getpid()&0xfffffff)
	}
	r := &Rig{opts: opts}
	if err := r.build(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Rig) build() error {
	for _, dir := range []string{r.bpffs(), r.configDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("rig directory: %w", err)
		}
	}
	if err := unix.Mount("bpffs", r.bpffs(), "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount bpffs at %s: %w", r.bpffs(), err)
	}
	r.mounted = true
	r.Cluster = defaultCluster(r.opts.Hosts)
	if r.opts.Change != nil {
		r.opts.Change(r.Cluster)
	}
	if err := r.WriteCluster(); err != nil {
		return err
	}
	var err error
	if r.Bridge, err = newNamespace(r.opts.Prefix + "-br"); err != nil {
		return err
	}
	if err := r.Bridge.Do(func() error { return errors.Join(r.learned.watchBridge(), addBridge(bridge)) }); err != nil {
		return err
	}
	if err := r.addClient(); err != nil {
		return err
	}
	for id := 1; id <= r.opts.Hosts; id++ {
		if err := r.addHost(id); err != nil {
			return err
		}
	}
	return r.writeBooks()
}

// addBridge makes a plain learning bridge, as an unmanaged switch is one: no snooping, no spanning tree.
func addBridge(name string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	snooping := false
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &snooping}); err != nil {
		return fmt.Errorf("add bridge %s: %w", name, err)
	}
	return linkUp(name)()
}

// plug connects a namespace's eth0 to the bridge, or makes it of the cards that number id has.
func (r *Rig) plug(n *Namespace, id int, port string, mac net.HardwareAddr) error {
	if r.opts.Cards != nil {
		return r.opts.Cards.insert(n, id)
	}
	return errors.Join(r.plugCable(n, port, mac), n.Do(linkUp(hostInterface)), r.Bridge.Do(linkUp(port)))
}

func (r *Rig) plugCable(n *Namespace, port string, mac net.HardwareAddr) error {
	return r.Bridge.Do(func() error {
		master, err := netlink.LinkByName(bridge)
		if err != nil {
			return fmt.Errorf("find %s: %w", bridge, err)
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MasterIndex = port, master.Attrs().Index
		target, err := namespaceHandle(n.Name)
		if err != nil {
			return err
		}
		defer func() { _ = target.Close() }()
		veth := &netlink.Veth{
			LinkAttrs: attrs, PeerName: hostInterface, PeerHardwareAddr: mac, PeerNamespace: netlink.NsFd(int(target.Fd())),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("add port %s: %w", port, err)
		}
		return nil
	})
}

func namespaceHandle(name string) (*os.File, error) {
	f, err := os.Open(filepath.Join("/run/netns", name))
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return f, nil
}

func (r *Rig) addClient() error {
	var err error
	if r.Client, err = newNamespace(r.opts.Prefix + "-c"); err != nil {
		return err
	}
	if err := r.plug(r.Client, 0, "client", net.HardwareAddr{0x02, 0x77, 0, 0, 1, 1}); err != nil {
		return err
	}
	return r.addressClient()
}

func defaultCluster(hosts int) *v1alpha1.LoadBalancingCluster {
	c := &v1alpha1.LoadBalancingCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LoadBalancingCluster"},
		ObjectMeta: metav1.ObjectMeta{Name: ClusterName},
		Spec: v1alpha1.LoadBalancingClusterSpec{
			Mode:       v1alpha1.ModeMulticast,
			VirtualIPs: []string{VIP.String()},
			Interface:  hostInterface,
			PortRules: []v1alpha1.PortRule{{
				Name: "http", Ports: v1alpha1.PortRange{From: HTTPPort, To: HTTPPort}, Protocol: v1alpha1.ProtocolTCP,
				FilteringMode: v1alpha1.FilteringModeMultiple, Affinity: v1alpha1.AffinitySingle,
			}},
		},
	}
	for id := int32(1); id <= int32(hosts); id++ {
		c.Spec.Hosts = append(c.Spec.Hosts, v1alpha1.HostConfig{NodeName: nodeName(int(id)), HostID: &id})
	}
	return c
}

// nodeName is node-a for host 1.
func nodeName(id int) string {
	if id <= 26 {
		return "node-" + string(rune('a'+id-1))
	}
	return "node-z" + string(rune('a'+id-27))
}

// WriteCluster writes the cluster file; agents that run notice it.
func (r *Rig) WriteCluster() error { return writeCluster(r.clusterFile(), r.Cluster) }

func writeCluster(path string, cluster *v1alpha1.LoadBalancingCluster) error {
	content, err := yaml.Marshal(cluster)
	if err != nil {
		return fmt.Errorf("cluster file: %w", err)
	}
	// Renamed into place, so that no agent reads half of it.
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return fmt.Errorf("cluster file: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("cluster file: %w", err)
	}
	return nil
}

func (r *Rig) clusterFile() string { return filepath.Join(r.configDir(), ClusterName+".yaml") }
func (r *Rig) configDir() string   { return filepath.Join(r.opts.Dir, "clusters") }
func (r *Rig) bpffs() string       { return filepath.Join(r.opts.Dir, "bpf") }

// StartAll starts every host's agent.
func (r *Rig) StartAll() error {
	var errs []error
	for _, h := range r.Hosts {
		errs = append(errs, h.Start())
	}
	return errors.Join(append(errs, r.writeBooks())...)
}

// Close ends all processes and takes down what the rig made, but the files in Dir. It is an error if the bridge ever
// learned a cluster MAC.
func (r *Rig) Close() error {
	errs := []error{r.learned.end(r.vips())}
	for _, h := range r.Hosts {
		errs = append(errs, h.close())
	}
	for _, n := range []*Namespace{r.Client, r.Bridge} {
		if n != nil {
			errs = append(errs, n.close())
		}
	}
	if r.mounted {
		errs = append(errs, unmount(r.bpffs()))
		r.mounted = false
	}
	return errors.Join(errs...)
}

func unmount(path string) error {
	if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) &&
		!errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// books is what TakeDown needs to know of a rig that another process built.
type books struct {
	Namespaces []string
	Processes  []processID
	BPFFS      string
}

// processID names a process for good: numbers alone come round again.
type processID struct {
	PID     int
	Started string
}

func booksFile(dir string) string { return filepath.Join(dir, "rig.json") }

func (r *Rig) writeBooks() error {
	b := books{Namespaces: []string{r.Client.Name, r.Bridge.Name}, BPFFS: r.bpffs()}
	for _, h := range r.Hosts {
		b.Namespaces = append(b.Namespaces, h.NS.Name)
		for _, p := range []*Process{h.agent, h.server} {
			if p == nil || !p.Running() {
				continue
			}
			started, err := startTime(p.PID())
			if err != nil {
				continue // ended just now
			}
			b.Processes = append(b.Processes, processID{p.PID(), started})
		}
	}
	content, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return fmt.Errorf("write books of the rig: %w", err)
	}
	return os.WriteFile(booksFile(r.opts.Dir), content, 0o644)
}

// TakeDown takes down a rig that another process built in dir and left running.
func TakeDown(ctx context.Context, dir string) error {
	content, err := os.ReadFile(booksFile(dir))
	if err != nil {
		return fmt.Errorf("no rig at %s: %w", dir, err)
	}
	var b books
	if err := json.Unmarshal(content, &b); err != nil {
		return fmt.Errorf("books of the rig at %s: %w", dir, err)
	}
	var errs []error
	for _, p := range b.Processes {
		if started, err := startTime(p.PID); err == nil && started == p.Started {
			errs = append(errs, unix.Kill(p.PID, unix.SIGKILL))
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond): // let the processes go before their namespaces
	}
	for _, n := range b.Namespaces {
		errs = append(errs, deleteNamespace(n))
	}
	errs = append(errs, unmount(b.BPFFS))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
