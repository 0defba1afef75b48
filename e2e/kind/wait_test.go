// SPDX-License-Identifier: Apache-2.0

package kind

import (
	"context"
	"os"
	"testing"
	"time"
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
	start := time.Now()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return time.Since(start)
		}
		if last == nil || ctx.Err() == nil {
			last = err // and not that the time is over
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v\n%s", what, limit, last, stateOfObjects())
		}
	}
}

// steadily calls check for a while and fails the test at its first error.
func steadily(t *testing.T, duration time.Duration, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := contextFor(duration + 10*time.Second)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for end := time.Now().Add(duration); time.Now().Before(end); <-tick.C {
		if err := check(ctx); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, stateOfObjects())
		}
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
