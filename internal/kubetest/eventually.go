// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"testing"
	"time"
)

// How long and how often Eventually looks. What is waited for takes milliseconds; the limit is for busy machines.
const (
	patience = 30 * time.Second
	interval = 50 * time.Millisecond
)

// Eventually calls check until it returns nil, and fails the test with its last error.
func Eventually(t testing.TB, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still not after %s: %v", patience, err)
		}
		time.Sleep(interval)
	}
}

// Consistently calls check for a while and fails the test with its first error.
func Consistently(t testing.TB, duration time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(duration); time.Now().Before(deadline); time.Sleep(interval) {
		if err := check(); err != nil {
			t.Fatal(err)
		}
	}
}
