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
)

const socketTimeout = 5 * time.Second

// Socket answers queries about this host on a unix socket that only root may open.
// It is the agent's only way in: there is no listening port.
type Socket struct {
	path string
	host atomic.Pointer[v1alpha1.LoadBalancingHost]
}

// NewSocket returns a server for the socket at path.
func NewSocket(path string) *Socket { return &Socket{path: path} }

// Publish sets what queries are answered with.
func (s *Socket) Publish(host *v1alpha1.LoadBalancingHost) { s.host.Store(host) }

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
	mux.HandleFunc("GET /v1/host", s.serveHost)
	server := &http.Server{Handler: mux, ReadTimeout: socketTimeout, WriteTimeout: socketTimeout}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("query socket %s: %w", s.path, err)
	}
	return nil
}

func (s *Socket) serveHost(w http.ResponseWriter, _ *http.Request) {
	host := s.host.Load()
	if host == nil {
		http.Error(w, "this node is not a host of the cluster", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(host); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// QueryHost asks the agent at a socket for its host.
func QueryHost(ctx context.Context, path string) (*v1alpha1.LoadBalancingHost, error) {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/host", nil)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", path, err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return nil, fmt.Errorf("no agent answers at %s; is one running on this node? %w", path, err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("the agent at %s says that this node is not a host of its cluster", path)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("query %s: %s", path, response.Status)
	}
	host := &v1alpha1.LoadBalancingHost{}
	if err := json.NewDecoder(response.Body).Decode(host); err != nil {
		return nil, fmt.Errorf("query %s: %w", path, err)
	}
	return host, nil
}
