// SPDX-License-Identifier: Apache-2.0

// Command rig puts hosts in network namespaces on one bridge, with a running agent in each, and
// leaves them there to play with.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/e2e/rig"
)

const (
	// directory is short, since unix socket paths are.
	directory = "/tmp/kube-wlbs-rig"
	prefix    = "wlbs"
)

func main() {
	rig.Main()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rig:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("usage: rig up [--hosts N] | rig down")
	}
	flags := flag.NewFlagSet("rig "+args[0], flag.ContinueOnError)
	dir := flags.String("dir", directory, "directory of the rig")
	switch args[0] {
	case "up":
		hosts := flags.Int("hosts", 3, "number of hosts")
		agent := flags.String("agent", filepath.Join(os.Getenv("KUBE_WLBS_BIN"), "wlbs-agent"), "agent binary")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return up(ctx, *dir, *agent, *hosts)
	case "down":
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return rig.TakeDown(ctx, *dir)
	}
	return fmt.Errorf("unknown command %q: up or down", args[0])
}

func up(ctx context.Context, dir, agent string, hosts int) error {
	if _, err := os.Stat(filepath.Join(dir, "rig.json")); err == nil {
		return fmt.Errorf("there is a rig at %s already; take it down first: make rig-down", dir)
	}
	// The servers outlive "go run", and so must the file that they are started from.
	server, err := install(dir)
	if err != nil {
		return err
	}
	r, err := rig.New(rig.Options{Hosts: hosts, Agent: agent, Dir: dir, Prefix: prefix, Detach: true, Server: server})
	if err != nil {
		return err
	}
	if err := r.StartAll(); err != nil {
		return errors.Join(err, r.Close())
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := r.WaitConverged(ctx, r.Hosts...); err != nil {
		return errors.Join(fmt.Errorf("%w; the agents' logs are in %s", err, dir),
			rig.TakeDown(context.WithoutCancel(ctx), dir))
	}
	fmt.Print(howToPlay(r, dir, agent))
	return nil
}

// install copies this program into the rig's directory.
func install(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(self)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "rig")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, content, 0o755)
}

func howToPlay(r *rig.Rig, dir, agent string) string {
	first, last := r.Hosts[0], r.Hosts[len(r.Hosts)-1]
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%d hosts serve %s. Each answers with its name:", len(r.Hosts), rig.VIP)
	line("")
	line("  for i in {1..12}; do ip netns exec %s curl -s --interface %s http://%s/; done", r.Client.Name, "10.77.1.$i",
		rig.VIP)
	line("  %s query --run-dir %s                               # this host's view", agent, first.RunDir())
	line("  watch -n1 '%s query --run-dir %s'", agent, last.RunDir())
	line("")
	line("Break something:")
	line("")
	line("  kill -9 %d                                             # crash of %s", last.Agent().PID(), last.Name)
	line("  ip netns exec %s ip link set %s down               # cut its cable", r.Bridge.Name, last.Port)
	line("  # Microsoft KB Q228942: heartbeats pass, the cluster is converged, and %s carries no traffic", last.Name)
	for _, c := range []string{
		"tc -n %[1]s qdisc add dev eth0 root handle 1: htb default 20",
		"tc -n %[1]s class add dev eth0 parent 1: classid 1:10 htb rate 8bit burst 1 cburst 1",
		"tc -n %[1]s class add dev eth0 parent 1: classid 1:20 htb rate 1gbit",
		"tc -n %[1]s filter add dev eth0 parent 1: protocol ip u32 match ip src %[2]s/32 flowid 1:10",
	} {
		line("  "+c, last.NS.Name, rig.VIP)
	}
	line("  tc -n %s qdisc del dev eth0 root                    # and well again", last.NS.Name)
	line("")
	line("Configuration: %s/clusters/web.yaml (agents notice changes). Logs: %s/node-*/agent.log. Down: make rig-down",
		dir, dir)
	return b.String()
}
