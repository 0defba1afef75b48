// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/internal/kubetest"
)

// Samples are accepted, and have no unknown field.
func TestSamples(t *testing.T) {
	c := newClient(t)
	files, err := filepath.Glob(kubetest.Path("config", "samples", "*.yaml"))
	if err != nil || len(files) < 4 {
		t.Fatalf("samples: %v, %v", files, err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sample := &v1alpha1.LoadBalancingCluster{}
			if err := yaml.UnmarshalStrict(content, sample); err != nil {
				t.Fatal(err)
			}
			if err := c.Create(t.Context(), parse(t, string(content)), client.DryRunAll); err != nil {
				t.Error(err)
			}
		})
	}
}
