// SPDX-License-Identifier: Apache-2.0

package eventually

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errNotYet = errors.New("not yet")

func TestUntilReturnsWhenCheckPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		took, err := Until(t.Context(), time.Second, func(context.Context) error {
			if calls++; calls < 4 {
				return errNotYet
			}
			return nil
		})
		if err != nil || calls != 4 || took != 3*time.Second {
			t.Errorf("%d calls in %s: %v", calls, took, err)
		}
	})
}

func TestUntilTellsTheLastErrorOfCheck(t *testing.T) {
	for name, tc := range map[string]struct {
		check func(context.Context) error
		want  error
	}{
		"that fails": {func(context.Context) error { return errNotYet }, errNotYet},
		"that waits for the context": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
			context.DeadlineExceeded},
		"that fails, and then for time": {failThenWait(), errNotYet},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				if _, err := Until(ctx, time.Second, tc.check); !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			})
		})
	}
}

// failThenWait is a check whose first call fails, and whose next one does not return before the context ends.
func failThenWait() func(context.Context) error {
	called := false
	return func(ctx context.Context) error {
		if !called {
			called = true
			return errNotYet
		}
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		if err := While(t.Context(), time.Second, 2500*time.Millisecond,
			func(context.Context) error { calls++; return nil }); err != nil || calls != 3 {
			t.Errorf("%d calls: %v", calls, err)
		}
		err := While(t.Context(), time.Second, time.Hour, func(context.Context) error { return errNotYet })
		if !errors.Is(err, errNotYet) {
			t.Errorf("got %v, want the first error", err)
		}
	})
}

func TestMustMayBeUsedInCleanUp(t *testing.T) {
	t.Run("test", func(t *testing.T) {
		t.Cleanup(func() { // the test's context has ended
			Must(t, time.Second, "a context that runs", func(ctx context.Context) error { return ctx.Err() })
		})
	})
}
