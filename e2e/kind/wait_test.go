// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/kube-wlbs/kube-wlbs/internal/eventually"
)

// pollInterval is the time between two looks at what is waited for.
const pollInterval = 100 * time.Millisecond

// contextFor returns a context for work that must also be done after a test's own context has ended: clean-up.
func contextFor(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), limit)
}

// within calls check until it returns no error, and tells how long that took. When limit has passed, the test fails with
// the last error and the state of all objects.
func within(t *testing.T, limit time.Duration, what string, check func(context.Context) error) time.Duration {
	t.Helper()
	ctx, cancel := contextFor(limit)
	defer cancel()
	took, err := eventually.Until(ctx, pollInterval, check)
	if err != nil {
		t.Fatalf("%s\n%s", eventually.Failure(what, limit, err), stateOfObjects())
	}
	return took
}

// steadily calls check for a while and fails the test at its first error.
func steadily(t *testing.T, duration time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := contextFor(duration + 10*time.Second)
	defer cancel()
	if err := eventually.While(ctx, pollInterval, duration, check); err != nil {
		t.Fatalf("%s: %v\n%s", what, err, stateOfObjects())
	}
}

// pause lets time pass in which something has to stay as it is, or load has to run.
func pause(t *testing.T, duration time.Duration) {
	t.Helper()
	select {
	case <-time.After(duration):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// skip skips a test for what this machine lacks, and fails it where nothing may be lacking.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
