// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"testing"
)

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	v, err := New()
	if err != nil {
		b.Fatal(err)
	}
	content := []byte("apiVersion: wlbs.dev/v1alpha1\nkind: LoadBalancingCluster\nmetadata: {name: web}\nspec: {virtualIPs: [10.77.0.100]}\n")
	b.ReportAllocs()
	for b.Loop() {
		d, err := v.Decode(content)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := v.Check(b.Context(), d, nil); err != nil {
			b.Fatal(err)
		}
	}
}
