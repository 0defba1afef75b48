// SPDX-License-Identifier: Apache-2.0

// Command demo shows kube-wlbs on the test cluster: it makes a
// LoadBalancingCluster with a workload behind its virtual IP, waits until the
// hosts have converged, and counts which node answers each of some hundred
// connections from this machine. `make demo` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// options is what the command line says.
type options struct {
	connections int
	timeout     time.Duration
}

func main() {
	var o options
	flag.IntVar(&o.connections, "connections", 300, "number of connections to make")
	flag.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait for convergence")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	l, err := lab.Open()
	if err != nil {
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	network, err := l.Network(ctx)
	if err != nil {
		return err
	}
	vip, err := network.VirtualIP(0)
	if err != nil {
		return err
	}
	workers, err := l.Workers(ctx)
	if err != nil {
		return err
	}
	d := demo{Lab: l, out: out, vip: vip, workers: workers}
	if err := d.apply(ctx); err != nil {
		return err
	}
	if err := d.waitForConvergence(ctx, o.timeout); err != nil {
		return err
	}
	if err := d.show(ctx); err != nil {
		return err
	}
	if err := d.connect(ctx, o.connections); err != nil {
		return err
	}
	return d.suggest()
}

// demo is one run.
type demo struct {
	*lab.Lab
	out     io.Writer
	vip     netip.Addr
	workers []string
}

func (d demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "\n== "+format+"\n", args...)
}

// suggest tells what to try next, with commands that can be pasted.
func (d demo) suggest() error {
	in := ""
	if d.Isolated {
		in = "bin/cluster exec -- "
	}
	_, err := fmt.Fprintf(d.out, `
The cluster is left running. Try next, in two terminals:
    watch -n 0.5 %[1]skubectl get lbc,lbh      # who is a member, who serves how much
    %[1]s%[2]s pause %[3]s      # a node hangs: the others take its share
    %[1]s%[2]s unpause %[3]s    # and give it back
    %[1]scurl -s http://%[4]s/            # each connection finds its node
make demo-down removes it all.
`, in, d.Engine, d.workers[len(d.workers)-1], d.vip)
	return err
}
