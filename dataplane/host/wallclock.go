// SPDX-License-Identifier: Apache-2.0

package host

import "time"

// wallClock holds the wall clock's time of the few moments in a report, so that they do not jitter from one report to
// the next.
type wallClock map[time.Duration]time.Time

// moments is how many one report can hold, and those of the report before.
const moments = 16

// at returns the wall clock's time at a moment of the monotonic clock, in whole seconds. now is this moment on both.
func (w *wallClock) at(moment, now time.Duration, wall time.Time) time.Time {
	if t, ok := (*w)[moment]; ok {
		return t
	}
	if len(*w) >= moments || *w == nil {
		*w = wallClock{}
	}
	t := wall.Add(moment - now).Truncate(time.Second)
	(*w)[moment] = t
	return t
}
