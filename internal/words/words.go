// SPDX-License-Identifier: Apache-2.0

// Package words says what a cluster and its hosts are in the words of WLBS, wherever that is printed or reported: by
// kubectl wlbs, by wlbs-agent on the node, and in the columns of "kubectl get".
//
// They follow what Microsoft published (KB812870, KB242242 and the output of "params").
package words

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

// Columns are the columns of "kubectl get" for a host.
func Columns(hostID int32, s *v1alpha1.LoadBalancingHostStatus) v1alpha1.HostColumns {
	return v1alpha1.HostColumns{
		State:   stateWords(s.State, isDefault(hostID, s)),
		Members: joinIDs(s.Members),
		Buckets: bucketWords(s.Buckets),
		Stalled: stallWords(s.Stall),
	}
}

// State is a host's state as one or a few words, for instance "Converged as DEFAULT".
func State(host *v1alpha1.LoadBalancingHost) string {
	if host.Status.State == "" {
		return string(v1alpha1.HostUnknown)
	}
	return stateWords(host.Status.State, isDefault(host.Spec.HostID, &host.Status))
}

// Members are the IDs of the hosts that a host lists. It is always one of them itself, even when it never reported:
// an empty list is the symptom of Microsoft KB Q228942.
func Members(host *v1alpha1.LoadBalancingHost) []int32 {
	ids := slices.Clone(host.Status.Members)
	if !slices.Contains(ids, host.Spec.HostID) {
		ids = append(ids, host.Spec.HostID)
		slices.Sort(ids)
	}
	return ids
}

func stateWords(state v1alpha1.HostState, isDefault bool) string {
	if state == v1alpha1.HostConverged && isDefault {
		return "Converged as DEFAULT"
	}
	return string(state)
}

func isDefault(hostID int32, s *v1alpha1.LoadBalancingHostStatus) bool {
	return s.DefaultHostID != nil && *s.DefaultHostID == hostID
}

func joinIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ",")
}

// bucketWords is one number where all rules have the same, else "rule:count" for each.
func bucketWords(buckets []v1alpha1.RuleBuckets) string {
	var words []string
	var counts []int32
	for _, b := range buckets {
		if b.Rule == v1alpha1.DefaultRuleName {
			continue
		}
		count := valueOf(b.Count)
		counts = append(counts, count)
		words = append(words, fmt.Sprintf("%s:%d", b.Rule, count))
	}
	slices.Sort(counts)
	switch len(slices.Compact(counts)) {
	case 0:
		return ""
	case 1:
		return strconv.Itoa(int(counts[0]))
	}
	return strings.Join(words, ",")
}

func stallWords(stall *v1alpha1.HostStall) string {
	if stall == nil {
		return "False"
	}
	return string(stall.Reason)
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
