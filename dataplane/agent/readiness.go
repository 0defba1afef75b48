// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"sync"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// readiness knows whether all hosts on the node are up. A host is up once it has converged, or said why it does not,
// and for as long as the agent runs then: who rolls out a new agent waits for this one's restart, not for the cluster's
// health.
type readiness struct {
	mu       sync.Mutex
	expected []string
	up       map[string]bool
}

// expect takes the clusters that the node is host of.
func (r *readiness) expect(clusters []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expected = clusters
}

func (r *readiness) report(cluster string, state v1alpha1.HostState) {
	if state == v1alpha1.HostConverging {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up == nil {
		r.up = map[string]bool{}
	}
	r.up[cluster] = true
}

func (r *readiness) forget(cluster string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.up, cluster)
}

// missing returns nil if all hosts are up, else whose are not.
func (r *readiness) missing() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var down []string
	for _, cluster := range r.expected {
		if !r.up[cluster] {
			down = append(down, cluster)
		}
	}
	if len(down) == 0 {
		return nil
	}
	return errors.New("not up yet: the node's hosts of " + strings.Join(down, ", "))
}
