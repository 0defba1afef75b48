// SPDX-License-Identifier: Apache-2.0

// Package eventually waits in tests for what comes to pass by itself, and watches that something stays as it is.
package eventually

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Interval is the time between two looks where the caller has no reason for another.
const Interval = 50 * time.Millisecond

// Until calls check every interval until it returns nil, and returns how long that took. When ctx ends first, it
// returns the last error of check that is not due to the end of ctx, or ctx's own if there is none.
func Until(ctx context.Context, interval time.Duration, check func(context.Context) error) (time.Duration, error) {
	start := time.Now()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		if err == nil {
			return time.Since(start), nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(last, ctx.Err()) {
				return time.Since(start), ctx.Err()
			}
			return time.Since(start), last
		}
	}
}

// Must waits until check returns nil, and returns how long that took. After limit the test fails with what was waited
// for and check's last error. The context of check ends with the limit and not with the test, so that clean-up
// functions may wait too.
func Must(tb testing.TB, limit time.Duration, what string, check func(context.Context) error) time.Duration {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), limit)
	defer cancel()
	took, err := Until(ctx, Interval, check)
	if err != nil {
		tb.Fatal(Failure(what, limit, err))
	}
	return took
}

// Failure is the message about something that did not come to pass.
func Failure(what string, limit time.Duration, last error) string {
	return fmt.Sprintf("%s: not within %s: %v", what, limit, last)
}

// Steadily calls check every Interval for a while. The test fails with check's first error.
func Steadily(tb testing.TB, duration time.Duration, what string, check func(context.Context) error) {
	tb.Helper()
	const grace = 10 * time.Second // for the last call of check
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), duration+grace)
	defer cancel()
	if err := While(ctx, Interval, duration, check); err != nil {
		tb.Fatalf("%s: %v", what, err)
	}
}

// While calls check every interval until duration has passed or ctx ends, and returns its first error, or ctx's.
func While(ctx context.Context, interval, duration time.Duration, check func(context.Context) error) error {
	end := time.NewTimer(duration)
	defer end.Stop()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if err := check(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-end.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
