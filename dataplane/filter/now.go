// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now reads CLOCK_MONOTONIC, the clock of leases and of last-seen stamps. The programs read
// the kernel's coarse value of it, which lags by one timer tick at most (1 to 10 ms).
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("filter: CLOCK_MONOTONIC: " + err.Error()) // cannot fail on Linux
	}
	return time.Duration(ts.Nano())
}
