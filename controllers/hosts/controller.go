// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	logf "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
	"github.com/kube-wlbs/kube-wlbs/controllers/shared"
	"github.com/kube-wlbs/kube-wlbs/internal/hostspec"
)

// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancingclusters/status,verbs=patch
// +kubebuilder:rbac:groups=wlbs.dev,resources=loadbalancinghosts,verbs=get;list;watch;create;delete;patch

// DefaultNodeLostAfter is how long a node must have been not ready, and its host due for removal, before the host is
// removed without its agent having torn down. It is the time after which Kubernetes evicts pods from such a node.
const DefaultNodeLostAfter = 5 * time.Minute

// fieldOwner is this reconciler in managedFields.
const fieldOwner = client.FieldOwner("wlbs-hosts")

// Reconciler turns the selected nodes into LoadBalancingHosts.
type Reconciler struct {
	Client   client.Client
	Recorder events.EventRecorder
	// AgentNodes is the node selector of the agents: other nodes cannot be hosts.
	AgentNodes map[string]string
	// NodeLostAfter is as DefaultNodeLostAfter says; zero means that.
	NodeLostAfter time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	leases shared.Leases
}

// Reconcile implements reconcile.Reconciler for one LoadBalancingCluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hosts, err := shared.HostsOf(ctx, r.Client, req.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	nodes, err := r.nodes(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	cluster := &v1alpha1.LoadBalancingCluster{}
	if err := r.Client.Get(ctx, req.NamespacedName, cluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.leases.Retain(req.Name, hosts)
			return r.reconcileOrphans(ctx, hosts, nodes)
		}
		return ctrl.Result{}, fmt.Errorf("get LoadBalancingCluster %s: %w", req.Name, err)
	}

	if !cluster.DeletionTimestamp.IsZero() {
		return r.reconcileDelete(ctx, cluster, hosts, nodes)
	}
	if err := r.ensureFinalizer(ctx, cluster); err != nil {
		return ctrl.Result{}, err
	}

	selector, err := newNodeSelector(&cluster.Spec)
	if err != nil {
		// Nothing is removed on a selector that cannot be evaluated: the hosts that are there go on serving.
		return ctrl.Result{}, r.report(ctx, cluster, metav1.ConditionFalse, v1alpha1.ReasonInvalidNodeSelector, err.Error())
	}
	r.leases.Retain(cluster.Name, hosts)
	plan := r.planHosts(cluster, selector, hosts, nodes)
	if err := r.applyHosts(ctx, cluster, plan); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.deleteHosts(ctx, plan.remove); err != nil {
		return ctrl.Result{}, err
	}
	wait, err := r.releaseLost(ctx, cluster, hosts, nodes)
	if err != nil {
		return ctrl.Result{}, err
	}
	status, reason, message := plan.condition()
	return ctrl.Result{RequeueAfter: shared.Sooner(wait, plan.again)}, r.report(ctx, cluster, status, reason, message)
}

// hostPlan is what the LoadBalancingHosts of a cluster should become.
type hostPlan struct {
	hostspec.Assignment
	// current are the hosts that are there and not being removed, by node.
	current map[string]*v1alpha1.LoadBalancingHost
	// maintenance says of nodes that they are drained, and why.
	maintenance map[string]*v1alpha1.HostMaintenance
	// departing are nodes, by name, that are drained before their hosts are removed.
	departing []string
	// withoutAgent are selected nodes, by name, on which no agent runs.
	withoutAgent []string
	// remove are the hosts whose nodes are no longer to be hosts.
	remove []*v1alpha1.LoadBalancingHost
	// again is when to look again although nothing changes, zero for never.
	again time.Duration
}

func (r *Reconciler) planHosts(
	cluster *v1alpha1.LoadBalancingCluster, selector nodeSelector, hosts []v1alpha1.LoadBalancingHost,
	nodes map[string]*corev1.Node,
) hostPlan {
	plan := hostPlan{current: map[string]*v1alpha1.LoadBalancingHost{},
		maintenance: map[string]*v1alpha1.HostMaintenance{}}
	currentIDs, leavingIDs := map[string]int32{}, map[string]int32{}
	for i := range hosts {
		h := &hosts[i]
		if !h.DeletionTimestamp.IsZero() {
			leavingIDs[h.Spec.NodeName] = h.Spec.HostID
			continue
		}
		plan.current[h.Spec.NodeName] = h
		currentIDs[h.Spec.NodeName] = h.Spec.HostID
	}
	var selected []string
	for name, node := range nodes {
		_, leaving := leavingIDs[name]
		_, isHost := plan.current[name]
		// A node whose last host object is still being removed becomes a host again when that is gone.
		if leaving || !node.DeletionTimestamp.IsZero() || !selector.matches(node, isHost) {
			continue
		}
		if !runsAgents(node, r.AgentNodes) {
			plan.withoutAgent = append(plan.withoutAgent, name)
			continue
		}
		selected = append(selected, name)
	}
	for name, h := range plan.current {
		if slices.Contains(selected, name) {
			plan.maintain(cluster, h, nodes[name], r.now())
			continue
		}
		leavingIDs[name] = h.Spec.HostID
		delete(currentIDs, name)
		r.depart(cluster, &plan, h, nodes[name])
	}
	slices.Sort(plan.departing)
	slices.Sort(plan.withoutAgent)
	slices.Sort(selected) // free IDs go to nodes in the order of their names
	plan.Assignment = hostspec.AssignIDs(cluster.Spec.Hosts, selected, currentIDs, leavingIDs)
	for name := range currentIDs {
		if _, stays := plan.IDs[name]; !stays {
			plan.remove = append(plan.remove, plan.current[name])
		}
	}
	for name := range plan.IDs {
		if plan.current[name] == nil {
			plan.maintain(cluster, nil, nodes[name], r.now())
		}
	}
	slices.SortFunc(plan.remove, func(a, b *v1alpha1.LoadBalancingHost) int { return strings.Compare(a.Name, b.Name) })
	return plan
}

func (p *hostPlan) condition() (status metav1.ConditionStatus, reason, message string) {
	switch {
	case len(p.Unassigned) > 0:
		return metav1.ConditionFalse, v1alpha1.ReasonTooManyNodes, fmt.Sprintf(
			"a cluster has at most %d hosts; no host ID is left for %s: narrow spec.nodeSelector, or free host IDs in spec.hosts",
			v1alpha1.MaxHosts, strings.Join(p.Unassigned, ", "))
	case len(p.Waiting) > 0:
		return metav1.ConditionFalse, v1alpha1.ReasonHostIDInUse, fmt.Sprintf(
			"the host IDs of spec.hosts for %s are in use by hosts that are still being drained or removed: wait for their agents, or give other IDs", strings.Join(p.Waiting, ", "))
	case len(p.IDs) == 0 && len(p.departing) == 0 && len(p.withoutAgent) > 0:
		return metav1.ConditionTrue, v1alpha1.ReasonNoHosts, fmt.Sprintf(
			"no agent runs on any selected node (%s): hosts run Linux, and the agents' node selector must match",
			strings.Join(p.withoutAgent, ", "))
	case len(p.IDs) == 0 && len(p.departing) == 0:
		return metav1.ConditionTrue, v1alpha1.ReasonNoHosts, "no node is selected: see spec.nodeSelector and spec.tolerations"
	}
	message = fmt.Sprintf("%d nodes are hosts", len(p.IDs))
	if len(p.departing) > 0 {
		message += ", drained before they are hosts no longer: " + strings.Join(p.departing, ", ")
	}
	if len(p.withoutAgent) > 0 {
		message += ", no hosts, for no agent runs there (operating system, or node selector of the agents): " +
			strings.Join(p.withoutAgent, ", ")
	}
	return metav1.ConditionTrue, v1alpha1.ReasonAllAssigned, message
}

// applyHosts writes the hosts in the order of their IDs.
func (r *Reconciler) applyHosts(ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, plan hostPlan) error {
	ids := maps.Clone(plan.IDs)
	for _, name := range plan.departing {
		ids[name] = plan.current[name].Spec.HostID
	}
	names := slices.Collect(maps.Keys(ids))
	slices.SortFunc(names, func(a, b string) int { return int(ids[a] - ids[b]) })
	for _, name := range names {
		desired := &v1alpha1.LoadBalancingHost{
			ObjectMeta: metav1.ObjectMeta{
				Name:            v1alpha1.HostObjectName(cluster.Name, name),
				Labels:          map[string]string{v1alpha1.ClusterLabel: cluster.Name, shared.ManagedByLabel: shared.ManagedBy},
				OwnerReferences: []metav1.OwnerReference{shared.OwnerReference(cluster)},
				Finalizers:      []string{v1alpha1.Finalizer},
			},
			Spec: hostSpec(cluster, name, ids[name], plan.maintenance[name]),
		}
		if current := plan.current[name]; current != nil {
			desired.Spec.VirtualIPs = current.Spec.VirtualIPs // which are not ours
		}
		if upToDate(plan.current[name], desired) {
			continue
		}
		if err := r.applyHost(ctx, desired); err != nil {
			return err
		}
		r.noteRules(cluster, plan.current[name], desired)
		if plan.current[name] == nil {
			logf.FromContext(ctx).Info("Node became a host", "node", name, "hostID", desired.Spec.HostID)
		}
	}
	return nil
}

func upToDate(current, desired *v1alpha1.LoadBalancingHost) bool {
	if current == nil || !equality.Semantic.DeepEqual(current.Spec, desired.Spec) ||
		!equality.Semantic.DeepEqual(current.OwnerReferences, desired.OwnerReferences) ||
		!controllerutil.ContainsFinalizer(current, v1alpha1.Finalizer) {
		return false
	}
	for key, value := range desired.Labels {
		if current.Labels[key] != value {
			return false
		}
	}
	return true
}

// applyHost writes all of a host but its virtual IPs, which are assigned elsewhere.
func (r *Reconciler) applyHost(ctx context.Context, host *v1alpha1.LoadBalancingHost) error {
	spec := host.Spec
	spec.VirtualIPs = nil
	config, err := shared.ApplyConfiguration(shared.HostKind, host.Name,
		map[string]any{"metadata": &host.ObjectMeta, "spec": &spec})
	if err != nil {
		return err
	}
	if err := r.Client.Apply(ctx, config, fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("apply LoadBalancingHost %s: %w", host.Name, err)
	}
	return nil
}

func (r *Reconciler) nodes(ctx context.Context) (map[string]*corev1.Node, error) {
	var list corev1.NodeList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list Nodes: %w", err)
	}
	nodes := make(map[string]*corev1.Node, len(list.Items))
	for i := range list.Items {
		nodes[list.Items[i].Name] = &list.Items[i]
	}
	return nodes, nil
}

func (r *Reconciler) ensureFinalizer(ctx context.Context, cluster *v1alpha1.LoadBalancingCluster) error {
	before := cluster.DeepCopy()
	if !controllerutil.AddFinalizer(cluster, v1alpha1.ClusterFinalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, cluster, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}),
		fieldOwner); err != nil {
		return fmt.Errorf("add finalizer to LoadBalancingCluster %s: %w", cluster.Name, err)
	}
	return nil
}

// report sets the condition HostsAssigned and emits an Event when it becomes False, or its reason or message changes.
func (r *Reconciler) report(
	ctx context.Context, cluster *v1alpha1.LoadBalancingCluster, status metav1.ConditionStatus, reason, message string,
) error {
	previous := shared.ConditionOf(cluster.Status.Conditions, v1alpha1.ConditionHostsAssigned)
	condition := shared.NextCondition(previous, metav1.Condition{
		Type: v1alpha1.ConditionHostsAssigned, Status: status, Reason: reason, Message: message,
		ObservedGeneration: cluster.Generation,
	}, r.now())
	if previous != nil && *previous == condition {
		return nil
	}
	patch := struct {
		Conditions []metav1.Condition `json:"conditions"`
	}{[]metav1.Condition{condition}}
	if err := shared.ApplyStatus(ctx, r.Client, shared.ClusterKind, cluster.Name, cluster.ResourceVersion, &patch,
		fieldOwner); err != nil {
		return err
	}
	changed := previous == nil || previous.Status != status || previous.Reason != reason ||
		previous.Message != condition.Message
	if status == metav1.ConditionFalse && changed {
		r.Recorder.Eventf(cluster, nil, corev1.EventTypeWarning, reason, "AssignHosts", "%s", condition.Message)
	}
	return nil
}

func (r *Reconciler) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}
