package backoff_test

import (
	"math"
	"testing"
	"time"

	"pdns-distribute/backoff"
)

func TestDoubled(t *testing.T) {
	for times, want := range map[int]time.Duration{
		-1: time.Second, 0: time.Second, 1: 2 * time.Second, 5: 32 * time.Second, 6: time.Minute, 70: time.Minute, math.MaxInt: time.Minute,
	} {
		if got := backoff.Doubled(time.Second, times, time.Minute); got != want {
			t.Errorf("doubled %d times: %s, want %s", times, got, want)
		}
	}
}
