// SPDX-License-Identifier: Apache-2.0

package words

import (
	"testing"

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
