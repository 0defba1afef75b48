// SPDX-License-Identifier: Apache-2.0

// Command demo shows kube-wlbs on the test cluster: it makes a
// LoadBalancingCluster with a workload behind its virtual IP, waits until the
// hosts have converged, counts which node answers each of some hundred
// connections from this machine, and lets a node hang meanwhile. `make demo`
// runs it.
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
	"text/tabwriter"
	"time"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// clusterName is the LoadBalancingCluster's name. Neither a sample nor a test has it, so that all can be there at once.
const clusterName = "demo"

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
	vip, err := network.VirtualIP(lab.DemoVirtualIP)
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
	if err := d.failOver(ctx); err != nil {
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
	fmt.Fprintln(d.out, "\nThe cluster is left running. Try next, the first in a terminal of its own:")
	table := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	victim := d.workers[len(d.workers)-1]
	for _, try := range []struct{ command, what string }{
		{"bin/kubectl-wlbs top", "who is a member, who owns which of the 60 buckets"},
		{"kubectl get lbc,lbh", "the same, for scripts"},
		{"bin/kubectl-wlbs query " + clusterName, "in the words of wlbs.exe"},
		{"bin/kubectl-wlbs drainstop " + victim, "take a node out and let its connections end; start brings it back"},
		{d.Engine + " pause " + victim, "a node hangs: the others take its share; unpause gives it back"},
		{fmt.Sprintf("curl -s http://%s/", d.vip), "each connection finds its node"},
	} {
		fmt.Fprintf(table, "    %s%s\t# %s\n", in, try.command, try.what)
	}
	err := table.Flush()
	fmt.Fprintln(d.out, "make demo-down removes it all.")
	return err
}
