// SPDX-License-Identifier: Apache-2.0

package wlbsctl

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kube-wlbs/kube-wlbs/internal/wlbsctl/top"
)

// lookTimeout bounds one look at the API server, so that the screen says when it does not answer.
const lookTimeout = 10 * time.Second

func (a *app) topCommand() *cobra.Command {
	var interval time.Duration
	cmd := &cobra.Command{
		Use:     "top [TARGET...]",
		Aliases: []string{"watch"},
		Short:   "Watch hosts, the owners of all buckets, connections, rates and stalls",
		Long: `Shows a live picture of clusters: their hosts, who owns each of the 60 buckets of every rule, connections,
packets a second at the stages of traffic (admitted by the filter, delivered to the node, answered by it, transmitted),
and stalls. Where the output is no terminal it prints one picture as plain text, with totals instead of rates.

Agents report news at once and else every 30 s, and a rate is that between the last two reports: AGE tells how old the
last one is. An asterisk marks the default host. In the buckets, digits are host IDs with a for 10 up to w for 32, a dot
is a bucket without an owner and an exclamation mark one with two.

Keys: q quits, up and down scroll, tab shows the next cluster. NO_COLOR turns colours off.

` + targetHelp,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			if interval < 100*time.Millisecond {
				return failf(ExitUsage, "--interval %v is shorter than 100ms", interval)
			}
			return a.top(cmd.Context(), args, interval)
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time between two looks at the API server")
	return cmd
}

func (a *app) top(ctx context.Context, targets []string, interval time.Duration) error {
	source := func(ctx context.Context) (top.Snapshot, error) {
		ctx, cancel := context.WithTimeout(ctx, lookTimeout)
		defer cancel()
		return a.snapshot(ctx, targets)
	}
	in, out, live := a.terminal()
	if !live {
		return a.printSnapshot(ctx, source)
	}
	// What is wrong with the targets is to be read after the screen is gone, so it is looked for before.
	if _, err := source(ctx); err != nil {
		return err
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	program := &top.Program{
		Source: source, Interval: interval, Keys: in, Out: out, Palette: palette(os.Getenv), Now: a.now,
		Size: func() (width, height int) {
			width, height, err := term.GetSize(int(out.Fd()))
			if err != nil || width < 1 || height < 1 {
				return 80, 24
			}
			return width, height
		},
	}
	return program.Run(ctx)
}

// terminal returns the terminal that the command runs in, if both its ends are one.
func (a *app) terminal() (in, out *os.File, live bool) {
	in, inIsFile := a.in.(*os.File)
	out, outIsFile := a.out.(*os.File)
	live = inIsFile && outIsFile && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) &&
		os.Getenv("TERM") != "dumb"
	return in, out, live
}

// palette follows https://no-color.org: NO_COLOR counts when it is not empty.
func palette(getenv func(string) string) top.Palette {
	if getenv("NO_COLOR") != "" {
		return top.Emphasis
	}
	return top.Colours
}

func (a *app) printSnapshot(ctx context.Context, source top.Source) error {
	snapshot, err := source(ctx)
	if err != nil {
		return err
	}
	for _, line := range top.RenderAll(&top.State{Snapshot: snapshot, Now: a.now()}) {
		a.printf("%s\n", top.Monochrome.Encode(line))
	}
	return nil
}

// snapshot reads the clusters and hosts that targets mean. A cluster without hosts is shown too when nothing is asked
// for.
func (a *app) snapshot(ctx context.Context, targets []string) (top.Snapshot, error) {
	_, inv, err := a.inventory(ctx)
	if err != nil {
		return top.Snapshot{}, err
	}
	if len(targets) == 0 {
		return top.Snapshot{Clusters: inv.clusters, Hosts: inv.hosts}, nil
	}
	hosts, err := inv.selectHosts(targets)
	if err != nil {
		return top.Snapshot{}, err
	}
	var s top.Snapshot
	for _, group := range byCluster(hosts) {
		s.Clusters = append(s.Clusters, *group[0].cluster)
		for _, h := range inv.hosts {
			// Who asks for one host wants to see it among its peers: the buckets of all are one picture.
			if h.Spec.ClusterName == group[0].cluster.Name {
				s.Hosts = append(s.Hosts, h)
			}
		}
	}
	return s, nil
}
