// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/hack/lab"
)

// systemNamespace is where the operator runs.
const systemNamespace = "kube-wlbs-system"

// environment is what tests need to know of the cluster, and does not change.
type environment struct {
	config  *rest.Config
	api     client.Client
	network lab.Network
	// workers are the names of the nodes that can be hosts, in the order of their host IDs.
	workers []string
}

var connectOnce = sync.OnceValues(connect)

// env returns the environment of a test that needs the operator. It is ready: all nodes are, and the manager runs.
func env(t *testing.T) *environment {
	t.Helper()
	e, err := connectOnce()
	must(t, err)
	if len(e.workers) != 3 {
		t.Fatalf("there are %d workers, want 3", len(e.workers))
	}
	e.awaitReady(t)
	return e
}

func connect() (*environment, error) {
	config, err := clientcmd.BuildConfigFromFlags("", cluster.Kubeconfig())
	if err != nil {
		return nil, err
	}
	config.Timeout = 30 * time.Second
	config.QPS = -1 // the API server's own fairness is enough
	api, err := newClient(config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := contextFor(time.Minute)
	defer cancel()
	network, err := cluster.Network(ctx)
	if err != nil {
		return nil, err
	}
	workers, err := cluster.Workers(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(workers)
	return &environment{config: config, api: api, network: network, workers: workers}, nil
}

// newClient returns a client that knows Kubernetes' types and ours, and has no cache.
func newClient(config *rest.Config) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("client for %s: %w", config.Host, err)
	}
	return c, nil
}
