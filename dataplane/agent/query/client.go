// SPDX-License-Identifier: Apache-2.0

// Package query asks the agent of this node, over its unix socket, what it does. Package standalone has the server.
package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/words"
)

// Timeout is how long a query may take.
const Timeout = 5 * time.Second

// Paths of what can be asked for. Those of one cluster begin with ClustersPath, a slash and its name.
const (
	// ReadyPath answers 200 when every host on the node is up, else 503 and why not.
	ReadyPath = "/v1/ready"
	// ClustersPath answers with a list of the names of the clusters that the node is a host of.
	ClustersPath = "/v1/clusters"

	// HostPart, ClusterPart and PeersPart are what there is of one cluster.
	HostPart    = "host"
	ClusterPart = "cluster"
	PeersPart   = "peers"
)

// ErrNotHost says that the node is not a host of the cluster.
var ErrNotHost = errors.New("this node is not a host of the cluster")

// maxMessage bounds what is read of an error.
const maxMessage = 4096

// Client asks the agent whose socket is at Path. Its errors say what to do where no agent answers.
type Client struct{ Path string }

// Ready returns nil when the agent answers and every host on the node is up, else what is missing.
func (c Client) Ready(ctx context.Context) error { return c.get(ctx, ReadyPath, nil) }

// Clusters returns the names of the clusters that the node is a host of, in order.
func (c Client) Clusters(ctx context.Context) ([]string, error) {
	var names []string
	err := c.get(ctx, ClustersPath, &names)
	return names, err
}

// Which returns name, or where that is empty the name of the only cluster that the node is a host of.
func (c Client) Which(ctx context.Context, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	names, err := c.Clusters(ctx)
	switch {
	case err != nil:
		return "", err
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", errors.New("this node is not a host of any cluster")
	default:
		return "", fmt.Errorf("this node is a host of %d clusters, say which: --cluster %s", len(names),
			strings.Join(names, "|"))
	}
}

// Host returns the node's host of a cluster.
func (c Client) Host(ctx context.Context, cluster string) (*v1alpha1.LoadBalancingHost, error) {
	host := &v1alpha1.LoadBalancingHost{}
	return host, c.part(ctx, cluster, HostPart, host)
}

// Cluster returns the cluster as it is wanted.
func (c Client) Cluster(ctx context.Context, cluster string) (*v1alpha1.LoadBalancingCluster, error) {
	wanted := &v1alpha1.LoadBalancingCluster{}
	return wanted, c.part(ctx, cluster, ClusterPart, wanted)
}

// Peers returns the hosts of a cluster that the node hears, and who they say they are.
func (c Client) Peers(ctx context.Context, cluster string) ([]words.Peer, error) {
	var peers []words.Peer
	err := c.part(ctx, cluster, PeersPart, &peers)
	return peers, err
}

func (c Client) part(ctx context.Context, cluster, part string, into any) error {
	err := c.get(ctx, ClustersPath+"/"+cluster+"/"+part, into)
	if errors.Is(err, ErrNotHost) {
		return fmt.Errorf("cluster %s: %w", cluster, err)
	}
	return err
}

// get asks for a path and decodes the answer; into is nil where none is expected.
func (c Client) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", c.Path)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, nil)
	if err != nil {
		return fmt.Errorf("query %s: %w", c.Path, err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return fmt.Errorf("no agent answers at %s; is one running on this node? %w", c.Path, err)
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return ErrNotHost
	case response.StatusCode != http.StatusOK:
		message, _ := io.ReadAll(io.LimitReader(response.Body, maxMessage))
		return fmt.Errorf("agent at %s: %s: %s", c.Path, response.Status, strings.TrimSpace(string(message)))
	case into == nil:
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("query %s: %w", c.Path, err)
	}
	return nil
}
