// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/kind/pkg/cluster"
	"sigs.k8s.io/kind/pkg/cmd"

	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// up makes the cluster, or brings one that is there to work.
func up(ctx context.Context, fresh bool) error {
	l, err := openOrDetect(ctx, fresh)
	if err != nil {
		return err
	}
	unlock, err := lock(l)
	if err != nil {
		return err
	}
	defer unlock()

	if err := prepare(ctx, l); err != nil {
		return err
	}
	provider := newProvider(l, cluster.ProviderWithLogger(cmd.NewLogger()))
	existing, err := usableNodes(ctx, l, provider, fresh)
	if err != nil {
		return err
	}
	if len(existing) > 0 {
		step("starting the nodes of cluster %s", l.Name)
		err = l.Start(ctx, existing...)
	} else {
		step("making cluster %s", l.Name)
		err = create(l, provider)
	}
	if err != nil {
		return err
	}
	if err := waitUntilReady(ctx, l); err != nil {
		return err
	}
	return report(ctx, l)
}

// openOrDetect finds the lab that is there, or chooses one for this machine.
func openOrDetect(ctx context.Context, fresh bool) (*lab.Lab, error) {
	if !fresh {
		if l, err := lab.Open(); !errors.Is(err, lab.ErrNoCluster) {
			return l, err
		}
	}
	return lab.Detect(ctx)
}

// prepare makes the machine ready and moves this process into the lab, by which
// it may be executed anew: all before Enter runs twice.
func prepare(ctx context.Context, l *lab.Lab) error {
	if l.Isolated {
		if err := script(ctx, "hack/install-packages", "lab"); err != nil {
			return err
		}
	}
	if err := chooseImage(ctx, l); err != nil {
		return err
	}
	if err := l.Prepare(ctx); err != nil {
		return fmt.Errorf("prepare this machine: %w", err)
	}
	if err := loadNodeImage(ctx, l); err != nil { // to build it takes a way out
		return err
	}
	if err := l.Enter(); err != nil {
		return err
	}
	if err := l.PrepareNetwork(ctx); err != nil {
		return fmt.Errorf("prepare the nodes' network: %w", err)
	}
	return nil
}

// usableNodes lists the cluster's nodes if they can be started. A cluster that
// cannot, or that is to be made anew, is removed first.
func usableNodes(ctx context.Context, l *lab.Lab, provider *cluster.Provider, fresh bool) ([]string, error) {
	nodes, err := l.Nodes(ctx)
	if err != nil || len(nodes) == 0 {
		return nil, err
	}
	remove := fresh
	for _, node := range nodes {
		ghost, err := l.Ghost(ctx, node)
		if err != nil {
			return nil, err
		}
		remove = remove || ghost
	}
	if _, err := os.Stat(l.Kubeconfig()); err != nil {
		remove = true // its creation was cut short
	}
	if !remove {
		return nodes, nil
	}
	step("removing what is left of an earlier cluster %s", l.Name)
	return nil, provider.Delete(l.Name, l.Kubeconfig())
}

// create makes the cluster's nodes and Kubernetes on them.
func create(l *lab.Lab, provider *cluster.Provider) error {
	if err := l.Save(); err != nil {
		return err
	}
	return provider.Create(l.Name,
		cluster.CreateWithV1Alpha4Config(clusterConfig(l)),
		cluster.CreateWithKubeconfigPath(l.Kubeconfig()),
		cluster.CreateWithWaitForReady(3*time.Minute),
		cluster.CreateWithDisplayUsage(false),
		cluster.CreateWithDisplaySalutation(false),
	)
}

// report saves what others need to find the cluster, and informs people.
func report(ctx context.Context, l *lab.Lab) error {
	if err := l.Save(); err != nil {
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
	step("cluster %s is ready; nodes are on %s (bridge %s), virtual IPs may be %s and up", l.Name, network.Subnet,
		network.Bridge, vip)
	if l.Isolated {
		fmt.Println("It lives in a network namespace of its own; run programs there with\n" +
			"    bin/cluster exec -- kubectl get nodes -o wide")
	} else {
		fmt.Printf("    export KUBECONFIG=%s\n", l.Kubeconfig())
	}
	return nil
}

// step tells on standard error what is done next.
func step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "== %s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// script runs one of the repository's scripts.
func script(ctx context.Context, name string, args ...string) error {
	_, err := scriptOutput(ctx, name, args...)
	return err
}

// scriptOutput runs a script and returns what it printed; its messages are shown.
func scriptOutput(ctx context.Context, name string, args ...string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, name), args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return trimmed(out), nil
}

// repository is the folder that holds this module's go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "hack", "kubernetes", "build")); err == nil {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("%s is not in a checkout of kube-wlbs", dir)
		}
	}
}
