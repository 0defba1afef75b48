// SPDX-License-Identifier: Apache-2.0

package words

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kube-wlbs/kube-wlbs/api/v1alpha1"
)

func TestBucketWords(t *testing.T) {
	rule := func(name string, n int32) v1alpha1.RuleBuckets { return v1alpha1.RuleBuckets{Rule: name, Count: &n} }
	for name, test := range map[string]struct {
		buckets []v1alpha1.RuleBuckets
		want    string
	}{
		"no rule":              {nil, ""},
		"default rule hidden":  {[]v1alpha1.RuleBuckets{rule("http", 20), rule(v1alpha1.DefaultRuleName, 60)}, "20"},
		"equal counts":         {[]v1alpha1.RuleBuckets{rule("http", 20), rule("dns", 20)}, "20"},
		"differing counts":     {[]v1alpha1.RuleBuckets{rule("http", 20), rule("dns", 60)}, "http:20,dns:60"},
		"a rule without count": {[]v1alpha1.RuleBuckets{{Rule: "http"}}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := bucketWords(test.buckets); got != test.want {
				t.Errorf("bucketWords() = %q, want %q", got, test.want)
			}
		})
	}
}

// Microsoft KB812870 shows both forms; KB Q228942 shows what must never be printed: an empty list.
func TestWriteQueryUsesPublishedWords(t *testing.T) {
	host := &v1alpha1.LoadBalancingHost{
		Spec: v1alpha1.LoadBalancingHostSpec{ClusterName: "web", HostID: 2},
		Status: v1alpha1.LoadBalancingHostStatus{
			State: v1alpha1.HostConverging, Members: []int32{1, 2}, DefaultHostID: new(int32(1)), Convergences: new(int64(1)),
		},
	}
	want := "Host 2 has entered a converging state 1 time(s) since joining the cluster\n" +
		"  and is still in a state of convergence.\n" +
		"Host 2 converging with the following host(s) as part of the cluster:\n1,2\n"
	var b strings.Builder
	if err := WriteQuery(&b, host); err != nil || !strings.Contains(b.String(), want) {
		t.Errorf("WriteQuery() = %v, %q, want to contain %q", err, b.String(), want)
	}

	host.Status.State, host.Status.Members, host.Status.DefaultHostID = v1alpha1.HostConverged, []int32{2}, new(int32(2))
	start := metav1.NewTime(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))
	host.Status.LastConvergence = &v1alpha1.ConvergenceRecord{StartedAt: &start, DurationMilliseconds: new(int64(3000))}
	want = "  and the last convergence completed at approximately: 2026-03-04 05:06:10\n" +
		"Host 2 converged as DEFAULT with the following host(s) as part of the cluster:\n2\n"
	b.Reset()
	if err := WriteQuery(&b, host); err != nil || !strings.Contains(b.String(), want) {
		t.Errorf("WriteQuery() = %v, %q, want to contain %q", err, b.String(), want)
	}
}
