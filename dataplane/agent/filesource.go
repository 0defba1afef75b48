// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/dataplane/plan"
	"github.com/kube-wlbs/kube-wlbs/internal/hostspec"
)

// filePollInterval is how soon a change of the cluster file is noticed.
const filePollInterval = 500 * time.Millisecond

// FileSource reads a LoadBalancingCluster from a YAML file, for hosts without Kubernetes.
// The cluster's spec.hosts names the nodes.
type FileSource struct {
	// Path of the YAML file. It is read again when its content changes.
	Path string
	// Node is this node's name in spec.hosts.
	Node string
	// Log gets what is wrong with a file that cannot be used; the last good one stays in force.
	Log *slog.Logger
}

// Run implements Source.
func (s *FileSource) Run(ctx context.Context, deliver func([]plan.Config)) error {
	ticker := time.NewTicker(filePollInterval)
	defer ticker.Stop()
	var last []byte
	var generation int64
	for {
		content, err := os.ReadFile(s.Path)
		switch {
		case err != nil:
			if last == nil {
				return fmt.Errorf("cluster file: %w", err)
			}
			s.Log.Error("Cluster file unreadable, keeping the last config", "file", s.Path, "error", err)
		case last == nil || !bytes.Equal(content, last):
			generation++
			desired, err := parseClusterFile(content, s.Node, generation)
			if err != nil && last == nil {
				return fmt.Errorf("cluster file %s: %w", s.Path, err)
			}
			last = content
			if err != nil {
				s.Log.Error("Cluster file invalid, keeping the last config", "file", s.Path, "error", err)
				break
			}
			deliver([]plan.Config{desired})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func parseClusterFile(content []byte, node string, generation int64) (plan.Config, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := unmarshalStrict(content, cluster); err != nil {
		return plan.Config{}, err
	}
	if cluster.APIVersion != v1alpha1.GroupVersion.String() || cluster.Kind != "LoadBalancingCluster" {
		return plan.Config{}, fmt.Errorf("is %s %s, want %s LoadBalancingCluster", cluster.APIVersion, cluster.Kind, v1alpha1.GroupVersion)
	}
	if cluster.Name == "" {
		return plan.Config{}, fmt.Errorf("metadata.name is missing")
	}
	cluster.Generation = generation
	spec, listed, err := hostSpecFromFile(cluster, node)
	if err != nil {
		return plan.Config{}, err
	}
	if !listed {
		return plan.Config{Cluster: cluster}, nil
	}
	return plan.Config{Cluster: cluster, Host: &v1alpha1.LoadBalancingHost{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "LoadBalancingHost"},
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HostObjectName(cluster.Name, node), Generation: generation},
		Spec:       spec,
	}}, nil
}

// unmarshalStrict refuses what the API server would: unknown fields, fields in the wrong case, and repeated ones.
func unmarshalStrict(content []byte, into any) error {
	object, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	strict, err := json.UnmarshalStrict(object, into)
	return errors.Join(append(strict, err)...)
}

// hostSpecFromFile does what the hosts controller does in Kubernetes: it resolves one entry of
// spec.hosts. Entries without an ID get the lowest free one in the order of the file.
func hostSpecFromFile(cluster *v1alpha1.LoadBalancingCluster, node string) (spec v1alpha1.LoadBalancingHostSpec, listed bool, err error) {
	taken := map[int32]string{}
	var nodes []string
	for _, h := range cluster.Spec.Hosts {
		nodes = append(nodes, h.NodeName)
		if h.HostID == nil {
			continue
		}
		if other, dup := taken[*h.HostID]; dup {
			return spec, false, fmt.Errorf("spec.hosts: %s and %s both have hostID %d; give each its own", other, h.NodeName, *h.HostID)
		}
		taken[*h.HostID] = h.NodeName
	}
	if !slices.Contains(nodes, node) {
		return spec, false, nil
	}
	id, ok := hostspec.AssignIDs(cluster.Spec.Hosts, nodes, nil, nil).IDs[node]
	if !ok {
		return spec, false, fmt.Errorf("spec.hosts: no host ID is left for %s; a cluster has at most %d hosts", node, v1alpha1.MaxHosts)
	}
	return hostspec.Of(cluster, node, id, cluster.Spec.VirtualIPs), true, nil
}

// ClusterNameInFile returns the name of the cluster in a file.
func ClusterNameInFile(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cluster file: %w", err)
	}
	d, err := parseClusterFile(content, "", 0)
	if err != nil {
		return "", fmt.Errorf("cluster file %s: %w", path, err)
	}
	return d.Cluster.Name, nil
}
