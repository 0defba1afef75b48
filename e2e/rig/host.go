// SPDX-License-Identifier: Apache-2.0

package rig

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
	"github.com/kube-wlbs/kube-wlbs/dataplane/heartbeat"
	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// stopLimit is how long a graceful end may take before the rig calls it hung.
const stopLimit = 15 * time.Second

// Host is one host of a rig.
type Host struct {
	// Name is the node's, such as node-a. ID is the host ID, 1 for node-a.
	Name string
	ID   int
	// NS is the host's network namespace; its interface is eth0.
	NS *Namespace
	// MAC and Addr are the interface's own; Addr is of the family of the cluster's primary virtual IP.
	MAC  net.HardwareAddr
	Addr netip.Addr
	// Port is the bridge's end of the cable.
	Port string

	// own is the host's own cluster, in a directory of its own; nil while it has those of all.
	own    *v1alpha1.LoadBalancingCluster
	rig    *Rig
	agent  *Process
	server *Process
}

func (r *Rig) addHost(id int) error {
	h := &Host{
		Name: nodeName(id), ID: id, rig: r, Port: "port" + strconv.Itoa(id),
		MAC: net.HardwareAddr{0x02, 0x77, 0, 0, 0, byte(id)},
	}
	if families := r.families(); len(families) > 0 {
		h.Addr = HostAddr(id, families[0])
	}
	var err error
	if h.NS, err = newNamespace(fmt.Sprintf("%s-h%d", r.opts.Prefix, id)); err != nil {
		return err
	}
	r.Hosts = append(r.Hosts, h)
	if err := r.plug(h.NS, id, h.Port, h.MAC); err != nil {
		return err
	}
	if h.MAC, err = macOf(h.NS); err != nil {
		return err
	}
	if err := h.address(); err != nil {
		return err
	}
	return h.StartServer()
}

// StartServer starts the host's workload: a server that answers with the node's name.
func (h *Host) StartServer() error {
	command := h.rig.opts.Server
	if command == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("start server: %w", err)
		}
		command = self
	}
	var err error
	h.server, err = h.NS.start(h.path("server.log"), h.rig.opts.Detach, roleEnv("server", serverConfig{Name: h.Name}),
		command)
	return err
}

// StopServer ends the host's workload. Connection requests are then refused.
func (h *Host) StopServer() error { return h.server.end(syscall.SIGKILL) }

// Start starts the host's agent.
func (h *Host) Start() error {
	if h.agent != nil && h.agent.Running() {
		return fmt.Errorf("agent of %s runs already", h.Name)
	}
	args := append([]string{
		"run", "--node", h.Name,
		"--state-dir", h.StateDir(), "--run-dir", h.RunDir(), "--bpffs-dir", h.Pins(),
	}, append(h.configFlags(), h.rig.opts.AgentFlags...)...)
	var err error
	h.agent, err = h.NS.start(h.AgentLog(), h.rig.opts.Detach, h.rig.opts.AgentEnv, h.rig.opts.Agent, args...)
	return err
}

// configFlags say where the agent finds its clusters: in one file as long as there is one cluster, else in a directory.
func (h *Host) configFlags() []string {
	switch {
	case h.own != nil:
		return []string{"--cluster-file", h.path("web.yaml")}
	case h.rig.opts.Several:
		return []string{"--config-dir", h.rig.configDir()}
	default:
		return []string{"--cluster-file", h.rig.clusterFile()}
	}
}

// cluster is the name of the host's first cluster.
func (h *Host) cluster() string {
	if h.own != nil {
		return h.own.Name
	}
	return h.rig.Cluster.Name
}

// Misconfigure gives the host a cluster file of its own, before its agent starts.
func (h *Host) Misconfigure(change func(*v1alpha1.LoadBalancingCluster)) error {
	h.own = h.rig.Cluster.DeepCopy()
	change(h.own)
	return writeCluster(h.path("web.yaml"), h.own)
}

// DropAnswers keeps the host's SYN-ACKs from the clients, and nothing else; the bridge does it, so that no counter of
// the host moves. LetAnswers ends it.
func (h *Host) DropAnswers() error {
	for _, command := range []string{
		"add table netdev drop" + h.Port,
		"add chain netdev drop" + h.Port + " in { type filter hook ingress device " + h.Port + " priority 0 ; }",
		"add rule netdev drop" + h.Port + " in ip saddr " + VIP.String() + " tcp flags & (syn|ack) == syn|ack drop",
	} {
		if _, err := h.rig.Bridge.Run("nft", strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// LetAnswers ends DropAnswers.
func (h *Host) LetAnswers() error {
	_, err := h.rig.Bridge.Run("nft", "delete", "table", "netdev", "drop"+h.Port)
	return err
}

// AgentLog is the file with all that the host's agents printed.
func (h *Host) AgentLog() string { return h.path("agent.log") }

// StateDir is where the agent keeps its files.
func (h *Host) StateDir() string { return h.path("state") }

// RunDir is where the agent's query socket is. It is short, as paths of sockets have to be.
func (h *Host) RunDir() string { return filepath.Join(h.rig.opts.Dir, h.Name) }

// client asks the host's agent.
func (h *Host) client() query.Client {
	return query.Client{Path: filepath.Join(h.RunDir(), "agent.sock")}
}

// Pins is the agent's directory in the rig's bpffs.
func (h *Host) Pins() string { return filepath.Join(h.rig.bpffs(), h.Name) }

func (h *Host) path(name string) string { return filepath.Join(h.rig.opts.Dir, h.Name, name) }

// Running reports whether the host's agent runs.
func (h *Host) Running() bool { return h.agent != nil && h.agent.Running() }

// Agent returns the agent's process, or nil before the first Start.
func (h *Host) Agent() *Process { return h.agent }

// Stop ends the agent gracefully.
func (h *Host) Stop() error { return h.agent.end(syscall.SIGTERM) }

// Kill ends the agent without a word, as a crash does. Its programs stay attached.
func (h *Host) Kill() error { return h.agent.end(syscall.SIGKILL) }

// Freeze stops the agent in its tracks, as a starved machine or a long pause does; Thaw lets it run again.
func (h *Host) Freeze() error { return h.agent.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (h *Host) Thaw() error { return h.agent.signal(syscall.SIGCONT) }

// Cut pulls the host's cable: both ends lose carrier. Mend plugs it in again.
func (h *Host) Cut() error { return h.rig.Bridge.Do(linkDown(h.Port)) }

// Mend ends Cut.
func (h *Host) Mend() error { return h.rig.Bridge.Do(linkUp(h.Port)) }

// PowerOff takes the whole host away at once: the cable, the agent and the workload. PowerOn brings it back,
// with what the agent had pinned and added, as after a crash of the agent alone.
func (h *Host) PowerOff() error { return errors.Join(h.Cut(), h.Kill(), h.StopServer()) }

// PowerOn ends PowerOff.
func (h *Host) PowerOn() error { return errors.Join(h.Mend(), h.StartServer(), h.Start()) }

// Mute keeps the host's heartbeats from everybody, and nothing else: it hears its peers, and they do not hear it.
func (h *Host) Mute() error {
	for _, command := range []string{
		"add table netdev mute" + h.Port,
		"add chain netdev mute" + h.Port + " in { type filter hook ingress device " + h.Port + " priority 0 ; }",
		"add rule netdev mute" + h.Port + " in ether type " + fmt.Sprintf("%#04x", heartbeat.EtherType) + " drop",
	} {
		if _, err := h.rig.Bridge.Run("nft", strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// Unmute ends Mute.
func (h *Host) Unmute() error {
	_, err := h.rig.Bridge.Run("nft", "delete", "table", "netdev", "mute"+h.Port)
	return err
}

// StallEgress stops what the host sends from the virtual IP and nothing else, as in Microsoft KB Q228942: heartbeats
// and everything else take class 1:20 and flow.
func (h *Host) StallEgress() error {
	for _, command := range []string{
		"qdisc add dev eth0 root handle 1: htb default 20",
		"class add dev eth0 parent 1: classid 1:10 htb rate 8bit burst 1 cburst 1",
		"class add dev eth0 parent 1: classid 1:20 htb rate 1gbit",
		"filter add dev eth0 parent 1: protocol ip u32 match ip src " + VIP.String() + "/32 flowid 1:10",
	} {
		if _, err := h.NS.Run("tc", strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// Unstall ends StallEgress.
func (h *Host) Unstall() error {
	_, err := h.NS.Run("tc", "qdisc", "del", "dev", hostInterface, "root")
	return err
}

// Leave takes the host out of the cluster file and waits until its agent has ended by itself or cleaned up.
func (h *Host) Leave(ctx context.Context) error {
	hosts := h.rig.Cluster.Spec.Hosts
	for i := range hosts {
		if hosts[i].NodeName == h.Name {
			h.rig.Cluster.Spec.Hosts = slices.Delete(hosts, i, i+1)
			break
		}
	}
	if err := h.rig.WriteCluster(); err != nil {
		return err
	}
	return poll(ctx, func() error {
		left, err := h.Leftovers()
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%s still has %s", h.Name, strings.Join(left, "; "))
		}
		return err
	})
}

func (h *Host) close() error {
	var errs []error
	for _, p := range []*Process{h.agent, h.server} {
		if p != nil && p.Running() {
			errs = append(errs, p.end(syscall.SIGKILL))
		}
	}
	return errors.Join(append(errs, h.NS.close())...)
}

// poll calls f until it returns nil, and returns its last error when ctx ends.
func poll(ctx context.Context, f func() error) error {
	_, err := eventually.Until(ctx, 20*time.Millisecond, func(context.Context) error { return f() })
	return err
}
