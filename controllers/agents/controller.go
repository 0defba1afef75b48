// SPDX-License-Identifier: Apache-2.0

package agents

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// +kubebuilder:rbac:groups=apps,namespace=kube-wlbs-system,resources=daemonsets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",namespace=kube-wlbs-system,resources=pods,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups="",namespace=kube-wlbs-system,resources=serviceaccounts,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,resources=clusterroles;clusterrolebindings,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=rbac.authorization.k8s.io,namespace=kube-wlbs-system,resources=roles;rolebindings,verbs=get;list;watch;create;update;patch;delete

// fieldOwner is this reconciler in managedFields.
const fieldOwner = client.FieldOwner("wlbs-dataplane")

// Reconciler runs the agents of the clusters.
type Reconciler struct {
	Client client.Client
	// Namespace is the operator's own, in which the agents run.
	Namespace string
	// AgentImage is the image of the agents.
	AgentImage string
}

// Reconcile implements reconcile.Reconciler for one LoadBalancingCluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			// The garbage collector removes what the cluster owned.
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, fmt.Errorf("get LoadBalancingCluster %s: %w", req.Name, err)
	}
	hosts, err := shared.HostsOf(ctx, r.Client, cluster.Name)
	if err != nil {
		return ctrl.Result{}, err
	}

	// A cluster that is being deleted keeps its agents until its last host is gone.
	nodes := hostNodes(hosts)
	if len(nodes) == 0 {
		return ctrl.Result{}, r.deleteDaemonSet(ctx, cluster.Name)
	}
	if err := r.applyAccess(ctx, cluster, hosts); err != nil {
		return ctrl.Result{}, err
	}
	daemonSet := agentDaemonSet(cluster, r.Namespace, r.AgentImage, nodes)
	if err := r.apply(ctx, "DaemonSet", daemonSet); err != nil {
		return ctrl.Result{}, err
	}
	return r.rollOut(ctx, cluster.Name, daemonSet.Spec.Template.Annotations[revisionAnnotation], len(nodes))
}

// applyAccess gives the agents their identity and rights before they start.
func (r *Reconciler) applyAccess(ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, hosts []v1alpha1.LoadBalancingHost) error {
	names := make([]string, 0, len(hosts))
	for i := range hosts {
		names = append(names, hosts[i].Name)
	}
	slices.Sort(names)
	if err := r.apply(ctx, "ServiceAccount", agentServiceAccount(cluster, r.Namespace)); err != nil {
		return err
	}
	if err := r.apply(ctx, "ClusterRole", agentRole(cluster, names)); err != nil {
		return err
	}
	if err := r.apply(ctx, "ClusterRoleBinding", agentRoleBinding(cluster, r.Namespace)); err != nil {
		return err
	}
	if err := r.apply(ctx, "Role", agentPodRole(cluster, r.Namespace)); err != nil {
		return err
	}
	return r.apply(ctx, "RoleBinding", agentPodRoleBinding(cluster, r.Namespace))
}

func (r *Reconciler) apply(ctx context.Context, kind string, config interface {
	runtime.ApplyConfiguration
	GetName() *string
},
) error {
	if err := r.Client.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply %s %s: %w", kind, *config.GetName(), err)
	}
	return nil
}

// deleteDaemonSet removes the agents of a cluster without hosts: a DaemonSet cannot select no node.
func (r *Reconciler) deleteDaemonSet(ctx context.Context, cluster string) error {
	daemonSet := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: agentName(cluster)}}
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(daemonSet), daemonSet)
	if err == nil && daemonSet.DeletionTimestamp.IsZero() {
		err = r.Client.Delete(ctx, daemonSet)
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete DaemonSet %s: %w", daemonSet.Name, err)
	}
	return nil
}
