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
func Eventually(tb testing.TB, check func() error) {
	tb.Helper()
	deadline := time.After(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			tb.Fatalf("still not after %s: %v", patience, err)
		case <-time.After(interval):
		}
	}
}

// Consistently calls check for a while and fails the test with its first error.
func Consistently(tb testing.TB, duration time.Duration, check func() error) {
	tb.Helper()
	deadline := time.After(duration)
	for {
		if err := check(); err != nil {
			tb.Fatal(err)
		}
		select {
		case <-deadline:
			return
		case <-time.After(interval):
		}
	}
}
