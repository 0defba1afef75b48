// SPDX-License-Identifier: Apache-2.0

// Package crd holds the CustomResourceDefinitions, for programs that check objects without an API server.
package crd

import _ "embed"

//go:embed bases/wlbs.dev_loadbalancingclusters.yaml
var clusters string

// Clusters returns the CustomResourceDefinition of LoadBalancingCluster, in YAML.
func Clusters() []byte { return []byte(clusters) }
