// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/agent/query"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// Answer is what queries about one cluster are answered with. Nothing in it may be changed once it is published.
type Answer struct {
	// Cluster is the cluster as it is wanted.
	Cluster *v1alpha1.LoadBalancingCluster
	// Host is the node's host of it, with its status.
	Host *v1alpha1.LoadBalancingHost
	// Peers are the hosts that it hears.
	Peers []words.Peer
}

// Socket answers queries on a unix socket that only root may open. It is the agent's only way in: there is no listening
// port. All its methods may be called at any time, by several goroutines.
type Socket struct {
	path string

	mu      sync.Mutex
	answers map[string]Answer // by cluster
	ready   func() error
}

// NewSocket returns a server for the socket at path. It answers nothing before Run.
func NewSocket(path string) *Socket { return &Socket{path: path, answers: map[string]Answer{}} }

// Publish sets what queries about a cluster are answered with.
func (s *Socket) Publish(cluster string, answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[cluster] = answer
}

// Withdraw makes queries about a cluster be told that this node is not a host of it.
func (s *Socket) Withdraw(cluster string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.answers, cluster)
}

// VirtualIPs returns those that the node's host of a cluster said to serve last.
func (s *Socket) VirtualIPs(cluster string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if host := s.answers[cluster].Host; host != nil {
		return host.Status.Dataplane.VirtualIPs
	}
	return nil
}

// SetReady says how to find out whether all hosts on the node are up: ready returns what is missing, or nil. It must
// not block. An agent is not ready before this was called.
func (s *Socket) SetReady(ready func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = ready
}

// Run serves until ctx ends and removes the socket then. One that is there already is replaced: whoever calls holds the
// lock on the node's agent.
func (s *Socket) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return fmt.Errorf("query socket: %w", err)
	}
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("query socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", s.path)
	if err != nil {
		return fmt.Errorf("query socket: %w", err)
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		return errors.Join(fmt.Errorf("query socket: %w", err), listener.Close())
	}
	server := &http.Server{Handler: s.handler(), ReadTimeout: query.Timeout, WriteTimeout: query.Timeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("query socket %s: %w", s.path, err)
	}
	return nil
}

func (s *Socket) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+query.ReadyPath, s.serveReady)
	mux.HandleFunc("GET "+query.ClustersPath, s.serveClusters)
	for part, of := range map[string]func(Answer) any{
		query.HostPart:    func(a Answer) any { return a.Host },
		query.ClusterPart: func(a Answer) any { return a.Cluster },
		query.PeersPart:   func(a Answer) any { return a.Peers },
	} {
		mux.HandleFunc("GET "+query.ClustersPath+"/{cluster}/"+part, s.servePart(of))
	}
	return mux
}

func (s *Socket) serveReady(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	err := errors.New("starting")
	if ready != nil {
		err = ready()
	}
	if err == nil {
		return
	}
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

func (s *Socket) serveClusters(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.answers))
	s.mu.Unlock()
	if names == nil {
		names = []string{}
	}
	writeJSON(w, names)
}

func (s *Socket) servePart(of func(Answer) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		answer, ok := s.answers[r.PathValue("cluster")]
		s.mu.Unlock()
		if !ok {
			http.Error(w, query.ErrNotHost.Error(), http.StatusNotFound)
			return
		}
		writeJSON(w, of(answer))
	}
}

func writeJSON(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(content); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
