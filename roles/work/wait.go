package work

import (
	"context"
	"math/rand/v2"
	"time"

	"pdns-distribute/backoff"
)

// Drain empties a channel of capacity one.
func Drain[T any](ch chan T) {
	select {
	case <-ch:
	default:
	}
}

// Pauses before what failed is tried again.
const (
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
)

// RetryPause returns the pause after so many failed attempts in a row, which doubles with each from a second to five
// minutes. A tenth more at random keeps apart what failed together.
func RetryPause(attempts int) time.Duration {
	pause := backoff.Doubled(firstRetry, attempts-1, lastRetry)
	return pause + rand.N(pause/10)
}

// Wait returns true after d, and false if ctx ended before.
func Wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// Notify leaves v in a channel of capacity one, in place of what nobody has read.
func Notify[T any](ch chan T, v T) {
	for {
		select {
		case ch <- v:
			return
		default:
		}
		select {
		case <-ch:
		default:
		}
	}
}
