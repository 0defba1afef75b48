// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

const socketTimeout = 5 * time.Second

// What can be asked for on the socket.
const (
	hostPath    = "/v1/host"
	clusterPath = "/v1/cluster"
	peersPath   = "/v1/peers"
)

// Socket answers queries about this host on a unix socket that only root may open.
// It is the agent's only way in: there is no listening port.
type Socket struct {
	path   string
	answer atomic.Pointer[answer]
}

type answer struct {
	cluster *v1alpha1.LoadBalancingCluster
	host    *v1alpha1.LoadBalancingHost
	peers   []words.Peer
}

// NewSocket returns a server for the socket at path.
func NewSocket(path string) *Socket { return &Socket{path: path} }

// Publish sets what queries are answered with: the cluster as it is wanted, the host as it is, and the peers it hears.
func (s *Socket) Publish(cluster *v1alpha1.LoadBalancingCluster, host *v1alpha1.LoadBalancingHost, peers []words.Peer) {
	s.answer.Store(&answer{cluster: cluster, host: host, peers: peers})
}

// Withdraw makes queries be told that this node is not a host.
func (s *Socket) Withdraw() { s.answer.Store(nil) }

// Run serves until ctx ends and removes the socket then.
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
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+hostPath, s.serve(func(a *answer) any { return a.host }))
	mux.HandleFunc("GET "+clusterPath, s.serve(func(a *answer) any { return a.cluster }))
	mux.HandleFunc("GET "+peersPath, s.serve(func(a *answer) any { return a.peers }))
	server := &http.Server{Handler: mux, ReadTimeout: socketTimeout, WriteTimeout: socketTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("query socket %s: %w", s.path, err)
	}
	return nil
}

func (s *Socket) serve(part func(*answer) any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		a := s.answer.Load()
		if a == nil {
			http.Error(w, "this node is not a host of the cluster", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(part(a)); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

// QueryHost asks the agent at a socket for its host.
func QueryHost(ctx context.Context, path string) (*v1alpha1.LoadBalancingHost, error) {
	host := &v1alpha1.LoadBalancingHost{}
	if err := query(ctx, path, hostPath, host); err != nil {
		return nil, err
	}
	return host, nil
}

// QueryCluster asks the agent at a socket for the cluster that it is a host of.
func QueryCluster(ctx context.Context, path string) (*v1alpha1.LoadBalancingCluster, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := query(ctx, path, clusterPath, cluster); err != nil {
		return nil, err
	}
	return cluster, nil
}

// QueryPeers asks the agent whose socket is at path which hosts it hears, and who they say they are.
func QueryPeers(ctx context.Context, path string) ([]words.Peer, error) {
	var peers []words.Peer
	if err := query(ctx, path, peersPath, &peers); err != nil {
		return nil, err
	}
	return peers, nil
}

func query(ctx context.Context, path, what string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+what, nil)
	if err != nil {
		return fmt.Errorf("query %s: %w", path, err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("no agent answers at %s; is one running on this node? %w", path, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return fmt.Errorf("the agent at %s says that this node is not a host of its cluster", path)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("query %s: %s", path, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("query %s: %w", path, err)
	}
	return nil
}
