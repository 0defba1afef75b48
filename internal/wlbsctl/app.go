// SPDX-License-Identifier: Apache-2.0

// Package wlbsctl is "kubectl wlbs": the commands of wlbs.exe for the clusters of a Kubernetes cluster. They read the
// wlbs.dev objects, and write nothing but a node's entry in the spec.hosts of a LoadBalancingCluster: RBAC and audit
// apply as to any other edit, and there is no remote-control port.
//
//   - commands.go: the commands that change something; transition.go has what each makes of a host, control.go,
//     patch.go, write.go and wait.go carry it out
//   - read.go, params.go, queryport.go, top_command.go: those that show something
//   - target.go, ports.go, complete.go: what is named on the command line
//   - output.go, exit.go: how answers are printed, and exit codes
package wlbsctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Streams are what a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs kubectl wlbs with the arguments after its name and returns its exit code.
func Run(ctx context.Context, args []string, streams Streams) int {
	a := &app{in: streams.In, out: streams.Out, errOut: streams.Err, now: time.Now}
	return a.run(ctx, args)
}

type app struct {
	in          io.Reader
	out, errOut io.Writer
	now         func() time.Time
	// config returns how to reach the API server.
	config func() (*rest.Config, error)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	err := root.ExecuteContext(ctx)
	if err != nil && !silent(err) {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			_, _ = fmt.Fprintln(a.errOut, "error:", line) // there is nowhere left to say that stderr is closed
		}
	}
	return codeOf(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "wlbs",
		Short: "See and control network load balancing clusters, as wlbs.exe did",
		Long: `See and control LoadBalancingClusters with the commands of wlbs.exe.

` + targetHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl wlbs"},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{code: ExitUsage, err: err} })
	a.addKubeFlags(root.PersistentFlags())
	root.AddGroup(&cobra.Group{ID: "read", Title: "See:"}, &cobra.Group{ID: "control", Title: "Control:"})
	for _, cmd := range []*cobra.Command{
		a.queryCommand(), a.displayCommand(), a.paramsCommand(), a.queryportCommand(), a.ip2macCommand(), a.topCommand(),
	} {
		cmd.GroupID = "read"
		root.AddCommand(cmd)
	}
	for _, cmd := range append(a.verbCommands(), a.ruleCommands()...) {
		cmd.GroupID = "control"
		root.AddCommand(cmd)
	}
	a.completeContexts(root)
	usageErrors(root)
	return root
}

// usageErrors gives wrong arguments their exit code.
func usageErrors(root *cobra.Command) {
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return failf(ExitUsage, "there is no command %q; kubectl wlbs --help lists them", args[0])
		}
		return cmd.Help()
	}
	root.Args = cobra.ArbitraryArgs
	for _, cmd := range root.Commands() {
		check := cmd.Args
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &exitError{code: ExitUsage, err: err}
			}
			return nil
		}
	}
}

// addKubeFlags adds the flags that kubectl has for reaching an API server. Only those that people type are in the help.
func (a *app) addKubeFlags(flags *pflag.FlagSet) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "",
		"path of the kubeconfig file (default $KUBECONFIG or ~/.kube/config)")
	overrides := &clientcmd.ConfigOverrides{}
	clientcmd.BindOverrideFlags(overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	flags.VisitAll(func(f *pflag.Flag) {
		switch f.Name {
		case "kubeconfig", "context", "as", "request-timeout":
		default:
			f.Hidden = true
		}
	})
	if a.config != nil {
		return
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	a.config = func() (*rest.Config, error) {
		config, err := loader.ClientConfig()
		if err != nil {
			return nil, fmt.Errorf("kubeconfig: %w", err)
		}
		return config, nil
	}
}

func (a *app) client() (*client, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	return newClient(config)
}

// inventory reads all clusters and hosts: at most some hundred objects, from which every target can be found.
func (a *app) inventory(ctx context.Context) (*client, *inventory, error) {
	c, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	inv := &inventory{}
	if inv.clusters, err = c.clusters(ctx); err != nil {
		return nil, nil, err
	}
	if inv.hosts, err = c.hosts(ctx, ""); err != nil {
		return nil, nil, err
	}
	return c, inv, nil
}

// chosen returns the hosts that targets mean; without targets all hosts.
func (a *app) chosen(ctx context.Context, targets []string) (*client, []selected, error) {
	c, inv, err := a.inventory(ctx)
	if err != nil {
		return nil, nil, err
	}
	if len(targets) > 0 {
		hosts, err := inv.selectHosts(targets)
		return c, hosts, err
	}
	hosts := inv.all()
	if len(hosts) == 0 {
		return nil, nil, failf(ExitNotFound, "there are no hosts; clusters are: %s", inv.clusterNames())
	}
	return c, hosts, nil
}

var errNoTarget = errors.New("say which cluster, node or host: " + "for instance web, web:2 or node-b")

func targetsRequired(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errNoTarget
	}
	return nil
}
