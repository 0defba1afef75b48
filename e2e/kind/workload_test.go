// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	workloadNamespace = "kube-wlbs-e2e"
	// workloadPort is where the workload listens on every worker's own network.
	workloadPort = 18080
	// podPort is where the workload in pods of their own listens.
	podPort = 8080
)

//go:embed testdata/workload.yaml
var workloadTemplate string

// workload is one server on every worker that answers with its node's name.
type workload struct {
	Name, Namespace string
	Port            int
	// HostNetwork puts the servers on the nodes' own network.
	HostNetwork bool
}

var startWorkloadOnce = sync.OnceValue(func() error {
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	return applyWorkload(ctx, workload{Name: "whoami", Namespace: workloadNamespace, Port: workloadPort, HostNetwork: true})
})

// hostWorkload makes sure that a server runs on every worker's own network. All tests share it; TestMain removes it.
func hostWorkload(t *testing.T) {
	t.Helper()
	must(t, startWorkloadOnce())
	awaitHostWorkload(t)
}

// awaitHostWorkload waits until the servers on all workers answer. What Kubernetes says of a node that has just been
// killed is out of date for a while.
func awaitHostWorkload(t *testing.T) {
	t.Helper()
	awaitWorkload(t, "whoami", 3)
	e, err := connectOnce()
	must(t, err)
	for _, node := range e.workers {
		within(t, 2*time.Minute, "answer of the workload on "+node, func(ctx context.Context) error {
			address, err := cluster.Address(ctx, node)
			if err != nil {
				return err
			}
			return connectOne(ctx, load{target: netip.AddrPortFrom(address, workloadPort), timeout: connectionTimeout}).err
		})
	}
}

func applyWorkload(ctx context.Context, w workload) error {
	parsed, err := template.New("workload").Parse(workloadTemplate)
	if err != nil {
		return err
	}
	var manifest strings.Builder
	if err := parsed.Execute(&manifest, w); err != nil {
		return err
	}
	_, err = kubectl(ctx, manifest.String(), "apply", "-f", "-")
	return err
}

// awaitWorkload waits until the servers of a DaemonSet are available on so many nodes.
func awaitWorkload(t *testing.T, name string, nodes int32) {
	t.Helper()
	e, err := connectOnce()
	must(t, err)
	within(t, 2*time.Minute, "workload "+name, func(ctx context.Context) error {
		var set appsv1.DaemonSet
		if err := e.api.Get(ctx, client.ObjectKey{Namespace: workloadNamespace, Name: name}, &set); err != nil {
			return err
		}
		if s := set.Status; s.ObservedGeneration != set.Generation || s.NumberAvailable != nodes || s.NumberUnavailable != 0 {
			return fmt.Errorf("%d of %d pods are available, want %d", s.NumberAvailable, s.DesiredNumberScheduled, nodes)
		}
		return nil
	})
}

// removeWorkloads removes what all tests shared.
func removeWorkloads() error {
	ctx, cancel := contextFor(2 * time.Minute)
	defer cancel()
	_, err := kubectl(ctx, "", "delete", "namespace", workloadNamespace, "--ignore-not-found", "--timeout=90s")
	return err
}
