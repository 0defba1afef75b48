// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/kube-wlbs/kube-wlbs/dataplane/agent"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/kube"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/standalone"
	"github.com/kube-wlbs/kube-wlbs/dataplane/host"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
)

// inKubernetes lets the agent take its configs from the API server and write its hosts' status there.
func inKubernetes(config *agent.Config) error {
	restConfig, err := rest.InClusterConfig()
	if err != nil {
		return fmt.Errorf("this is no pod of Kubernetes, say where the configs are by --config-dir or --cluster-file: %w",
			err)
	}
	client, err := kube.NewClient(restConfig)
	if err != nil {
		return err
	}
	sink := kube.NewSink(client, config.Node, config.Log)
	config.Source = &kube.Source{Client: client, Node: config.Node, Overwritten: sink.Rewrite, Log: config.Log}
	config.Sink = sink
	pod := &kube.Pod{
		Client: client, Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME"), UID: os.Getenv("POD_UID"),
		DaemonSet: os.Getenv("DAEMONSET_NAME"),
	}
	if pod.Name != "" && config.RestartHold > 0 {
		config.Ending = pod.Ending
	}
	return nil
}

// byFiles lets the agent take its configs from the files of a directory, or from one file.
func byFiles(config *agent.Config, dir, file string) {
	stateDir, log := config.StateDir, config.Log
	config.Source = &standalone.Source{
		Dir: dir, File: file, Node: config.Node, Log: config.Log,
		Last:  func() []plan.Config { return agent.LastConfigs(stateDir, log) },
		InUse: config.Socket.VirtualIPs,
	}
	if config.RestartHold > 0 {
		config.Ending = systemdEnding
	}
}

// systemdEnding tells a shutdown of the machine from a restart of the agent. Where systemd does not say that it stops,
// or is not there, another agent follows: that is what --restart-hold promises.
func systemdEnding(ctx context.Context) (host.Ending, string) {
	out, err := exec.CommandContext(ctx, "systemctl", "is-system-running").Output()
	if state := strings.TrimSpace(string(out)); state == "stopping" { // its exit code is not 0 then
		return host.EndingShutdown, "the machine shuts down: systemd is stopping"
	}
	return host.EndingRestart, fmt.Sprintf("the agent was asked to end, and systemd does not say that it stops (%q, %v)",
		strings.TrimSpace(string(out)), err)
}
