// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/agents"
	"github.com/kube-wlbs/kube-wlbs/controllers/hosts"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/controllers/status"
	"github.com/kube-wlbs/kube-wlbs/controllers/virtualips"
)

// Leader election and its events, in the manager's own namespace:
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-wlbs-system,resources=leases,verbs=get;create;update;patch
// +kubebuilder:rbac:groups="",namespace=kube-wlbs-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=events.k8s.io,namespace=kube-wlbs-system,resources=events,verbs=create;patch

// Options are what the reconcilers need to know of their surroundings.
type Options struct {
	// Namespace is the operator's own, in which the agents run.
	Namespace string
	// Agents are the settings of the agents.
	Agents agents.Settings
	// NodeLostAfter is as hosts.DefaultNodeLostAfter says; zero means that.
	NodeLostAfter time.Duration
}

// AddToScheme registers all types that the manager reads or writes.
func AddToScheme(s *runtime.Scheme) error {
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme, appsv1.AddToScheme} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// CacheOptions keep out of the manager's memory what is none of its business: all DaemonSets but its own, which is all
// that it may read, and those parts of a Node that nobody here reads.
func CacheOptions(namespace string) cache.Options {
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.DaemonSet{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Field:      fields.OneTermEqualSelector("metadata.name", agents.Name),
			},
			&corev1.Node{}: {Transform: trimNode},
		},
	}
}

func trimNode(obj any) (any, error) {
	if node, ok := obj.(*corev1.Node); ok {
		node.ManagedFields, node.Annotations = nil, nil
		node.Status = corev1.NodeStatus{Conditions: node.Status.Conditions, Addresses: node.Status.Addresses}
	}
	return obj, nil
}

// Setup adds all reconcilers to a manager.
func Setup(mgr manager.Manager, o Options) error {
	recorder := shared.NewRecorder(mgr.GetEventRecorder("wlbs-manager"), mgr.GetScheme())
	for name, setup := range map[string]func() error{
		"hosts": func() error {
			return hosts.Setup(mgr, &hosts.Reconciler{Client: mgr.GetClient(), Recorder: recorder,
				AgentNodes: o.Agents.Selector(), NodeLostAfter: o.NodeLostAfter})
		},
		"virtualips": func() error {
			return virtualips.Setup(mgr, &virtualips.Reconciler{Client: mgr.GetClient(), API: mgr.GetAPIReader()})
		},
		"agents": func() error {
			return agents.Setup(mgr,
				&agents.Reconciler{Client: mgr.GetClient(), API: mgr.GetAPIReader(), Namespace: o.Namespace, Settings: o.Agents})
		},
		"status": func() error {
			return status.Setup(mgr, &status.Reconciler{Client: mgr.GetClient(), Recorder: recorder})
		},
	} {
		if err := setup(); err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}
