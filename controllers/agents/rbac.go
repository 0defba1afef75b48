// SPDX-License-Identifier: Apache-2.0

package agents

import (
	rbacv1 "k8s.io/api/rbac/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	rbacv1ac "k8s.io/client-go/applyconfigurations/rbac/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
)

// agentServiceAccount is the identity of a cluster's agents.
func agentServiceAccount(cluster *v1alpha1.LoadBalancingCluster, namespace string) *corev1ac.ServiceAccountApplyConfiguration {
	return corev1ac.ServiceAccount(agentName(cluster.Name), namespace).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster))
}

// agentRole lets a cluster's agents read their cluster and its hosts and write the hosts' status and finalizers. List and
// watch work with a field selector on one of these names only. The agents of a cluster share a role, so an admission
// policy (config/agent) also limits each of them to the host of its own node.
func agentRole(cluster *v1alpha1.LoadBalancingCluster, hostNames []string) *rbacv1ac.ClusterRoleApplyConfiguration {
	group := v1alpha1.GroupVersion.Group
	role := rbacv1ac.ClusterRole(agentName(cluster.Name)).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster)).
		WithRules(rbacv1ac.PolicyRule().
			WithAPIGroups(group).WithResources("loadbalancingclusters").WithResourceNames(cluster.Name).
			WithVerbs("get", "list", "watch"))
	if len(hostNames) == 0 {
		// Without names the rules below would hold for all hosts of all clusters.
		return role
	}
	return role.WithRules(
		rbacv1ac.PolicyRule().
			WithAPIGroups(group).WithResources("loadbalancinghosts").WithResourceNames(hostNames...).
			WithVerbs("get", "list", "watch", "patch"),
		rbacv1ac.PolicyRule().
			WithAPIGroups(group).WithResources("loadbalancinghosts/status").WithResourceNames(hostNames...).
			WithVerbs("patch"),
	)
}

// agentRoleBinding gives the role to the agents.
func agentRoleBinding(cluster *v1alpha1.LoadBalancingCluster, namespace string) *rbacv1ac.ClusterRoleBindingApplyConfiguration {
	name := agentName(cluster.Name)
	return rbacv1ac.ClusterRoleBinding(name).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster)).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("ClusterRole").WithName(name)).
		WithSubjects(rbacv1ac.Subject().WithKind(rbacv1.ServiceAccountKind).WithNamespace(namespace).WithName(name))
}

// agentPodRole lets an agent look, when it is told to end, whether its pod was deleted and its DaemonSet makes another one. The
// names of pods are not known before, so the role is for all pods of the operator's own namespace.
func agentPodRole(cluster *v1alpha1.LoadBalancingCluster, namespace string) *rbacv1ac.RoleApplyConfiguration {
	name := agentName(cluster.Name)
	return rbacv1ac.Role(name, namespace).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster)).
		WithRules(
			rbacv1ac.PolicyRule().WithAPIGroups("").WithResources("pods").WithVerbs("get"),
			rbacv1ac.PolicyRule().WithAPIGroups("apps").WithResources("daemonsets").WithResourceNames(name).WithVerbs("get"),
		)
}

func agentPodRoleBinding(cluster *v1alpha1.LoadBalancingCluster, namespace string) *rbacv1ac.RoleBindingApplyConfiguration {
	name := agentName(cluster.Name)
	return rbacv1ac.RoleBinding(name, namespace).
		WithLabels(agentLabels(cluster.Name)).
		WithOwnerReferences(ownerReferenceConfig(cluster)).
		WithRoleRef(rbacv1ac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacv1ac.Subject().WithKind(rbacv1.ServiceAccountKind).WithNamespace(namespace).WithName(name))
}

func ownerReferenceConfig(cluster *v1alpha1.LoadBalancingCluster) *metav1ac.OwnerReferenceApplyConfiguration {
	reference := shared.OwnerReference(cluster)
	return metav1ac.OwnerReference().
		WithAPIVersion(reference.APIVersion).WithKind(reference.Kind).
		WithName(reference.Name).WithUID(reference.UID).
		WithController(*reference.Controller).WithBlockOwnerDeletion(*reference.BlockOwnerDeletion)
}
