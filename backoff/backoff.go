// Package backoff says how long to wait before what failed is tried again.
package backoff

import "time"

// mostTimes keeps the shift in [Doubled] from overflowing: 2^16 seconds are 18 hours.
const mostTimes = 16

// Doubled returns first, doubled so many times, but no more than last. Doubled less than zero times it is first.
func Doubled(first time.Duration, times int, last time.Duration) time.Duration {
	return min(first<<min(max(times, 0), mostTimes), last)
}
