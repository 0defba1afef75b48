// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"
)

func TestResultOfLines(t *testing.T) {
	r := result{}
	for _, l := range []string{
		"=== RUN   TestServes",
		"    --- PASS: TestServes/XDP (0.10s)",
		"    --- SKIP: TestServes/TCX (0.00s)",
		"--- PASS: TestServes (0.10s)",
		"--- FAIL: TestOther (0.10s)",
		"    verifier_test.go:34: wlbs_ingress: 8081 steps",
	} {
		r.line(l)
	}
	if r.passed != 2 || r.failed != 1 || r.skipped != 1 {
		t.Errorf("%d passed, %d failed, %d skipped", r.passed, r.failed, r.skipped)
	}
	if want := []string{"TestServes/TCX"}; !slices.Equal(r.skips, want) {
		t.Errorf("skipped %v, want %v", r.skips, want)
	}
	if want := []string{"wlbs_ingress 8081"}; !slices.Equal(r.steps, want) {
		t.Errorf("steps %v, want %v", r.steps, want)
	}
}
