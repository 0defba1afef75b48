// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 contains the API of kube-wlbs, group wlbs.dev.
//
// +kubebuilder:object:generate=true
// +groupName=wlbs.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the API group and version of every type in this package.
var GroupVersion = schema.GroupVersion{Group: "wlbs.dev", Version: "v1alpha1"}

// AddToScheme registers the types of this package with a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&LoadBalancingCluster{}, &LoadBalancingClusterList{},
		&LoadBalancingHost{}, &LoadBalancingHostList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
