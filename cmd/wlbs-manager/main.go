// SPDX-License-Identifier: Apache-2.0

// Command wlbs-manager runs the reconcilers of kube-wlbs. It is not on the data path: without it the nodes keep
// converging and serving, and nobody adds or removes hosts or writes the status of clusters.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kube-wlbs/kube-wlbs/controllers"
	"github.com/kube-wlbs/kube-wlbs/controllers/hosts"
	"github.com/kube-wlbs/kube-wlbs/controllers/metricsauth"
	"github.com/kube-wlbs/kube-wlbs/controllers/status"
)

// leaderElectionID is the Lease in the operator's namespace that the manager at work holds.
const leaderElectionID = "kube-wlbs-manager"

// When the node of the manager at work hangs, another one takes over after leaseDuration, and up to two retryPeriods.
// Each manager counts from when it saw the lease change, by its own clock, so that clocks need not agree. The manager
// at work gives up when it could not renew its lease for renewDeadline, a second before anybody else may take it. All
// of that costs the API server one request a second for each manager.
const (
	leaseDuration = 5 * time.Second
	renewDeadline = 4 * time.Second
	retryPeriod   = time.Second
)

type options struct {
	controllers.Options
	metricsAddress, probeAddress string
	leaderElect, verbose         bool
}

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wlbs-manager:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	log := logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctrl.SetLogger(log)
	klog.SetLogger(log)

	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	mgr, err := newManager(config, o)
	if err != nil {
		return err
	}
	log.Info("Starting", "namespace", o.Namespace, "agentImage", o.Agents.Image)
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	return nil
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("wlbs-manager", flag.ContinueOnError)
	flags.StringVar(&o.Namespace, "namespace", os.Getenv("POD_NAMESPACE"),
		"namespace in which the agents run (default $POD_NAMESPACE)")
	agentFlags(flags, &o.Agents)
	flags.DurationVar(&o.NodeLostAfter, "node-lost-after", hosts.DefaultNodeLostAfter,
		"how long a node must have been not ready before its host is removed without its agent having torn down")
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", "0",
		"address of the metrics, served by TLS to those whom the API server allows to get /metrics; 0 turns them off")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	flags.BoolVar(&o.leaderElect, "leader-elect", true, "let only one of several managers work at a time")
	flags.BoolVar(&o.verbose, "verbose", false, "log more")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.Namespace == "":
		return o, errors.New("--namespace is missing and POD_NAMESPACE is not set")
	case o.Agents.Image == "":
		return o, errors.New("--agent-image is missing and AGENT_IMAGE is not set")
	case o.NodeLostAfter < 0:
		return o, fmt.Errorf("--node-lost-after is %s, want a positive duration", o.NodeLostAfter)
	}
	return o, nil
}

func newManager(config *rest.Config, o options) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := controllers.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("scheme: %w", err)
	}
	grace, lease, renew, retry := 10*time.Second, leaseDuration, renewDeadline, retryPeriod
	standby := true
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme,
		Cache:  controllers.CacheOptions(o.Namespace),
		Metrics: metricsserver.Options{
			BindAddress: o.metricsAddress, SecureServing: true, FilterProvider: metricsauth.New,
		},
		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leaderElectionID,
		LeaderElectionNamespace:       o.Namespace,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 &lease,
		RenewDeadline:                 &renew,
		RetryPeriod:                   &retry,
		// A manager that stands by watches already, and so begins with a full cache.
		Controller:              ctrlconfig.Controller{EnableWarmup: &standby},
		GracefulShutdownTimeout: &grace,
	})
	if err != nil {
		return nil, fmt.Errorf("create manager: %w", err)
	}
	if err := controllers.Setup(mgr, o.Options); err != nil {
		return nil, err
	}
	if err := metrics.Registry.Register(status.NewMetrics(mgr.GetCache(), mgr.Elected())); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("add health check: %w", err)
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return nil, fmt.Errorf("add readiness check: %w", err)
	}
	return mgr, nil
}
