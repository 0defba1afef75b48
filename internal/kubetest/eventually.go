// SPDX-License-Identifier: Apache-2.0

package kubetest

import (
	"context"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// waitLimit is how long Eventually waits. What is waited for takes milliseconds; the limit is for busy machines.
const waitLimit = 30 * time.Second

// Eventually calls check until it returns nil, and fails the test with its last error.
func Eventually(tb testing.TB, check func() error) {
	tb.Helper()
	eventually.Must(tb, waitLimit, "what the API server is to show", func(context.Context) error { return check() })
}

// Consistently calls check for a while and fails the test with its first error.
func Consistently(tb testing.TB, duration time.Duration, check func() error) {
	tb.Helper()
	eventually.Steadily(tb, duration, "what the API server shows", func(context.Context) error { return check() })
}
