// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types of a LoadBalancingCluster and of a LoadBalancingHost.
const (
	// ConditionReady sums up the others: the virtual IPs are served as the spec says.
	ConditionReady = "Ready"
	// ConditionConverged is True while all members agree on view, config and maps.
	ConditionConverged = "Converged"
	// ConditionTrafficStalled is True while a converged host carries no traffic (Microsoft KB Q228942).
	ConditionTrafficStalled = "TrafficStalled"
	// ConditionConfigConsistent is False while hosts hold different configs, IDs or rules (Microsoft KB Q193599).
	ConditionConfigConsistent = "ConfigConsistent"
	// ConditionPartitioned is True while two disjoint views both say that they are converged. Cluster only.
	ConditionPartitioned = "Partitioned"
	// ConditionFieldsInEffect is False while the spec sets a field that has no effect in this version. Cluster only.
	ConditionFieldsInEffect = "FieldsInEffect"
	// ConditionDataplaneReady is True while interface, addresses and filter are set up. Host only.
	ConditionDataplaneReady = "DataplaneReady"
)

// Finalizer keeps a LoadBalancingHost until its agent has removed everything from the node.
const Finalizer = "wlbs.dev/dataplane"
