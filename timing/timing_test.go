package timing_test

import (
	"testing"

	"pdns-distribute/timing"
)

// A quantile within a bucket is a guess, and no worse than by a factor of three.
func TestBucketsHaveNoGaps(t *testing.T) {
	for i := 1; i < len(timing.Buckets); i++ {
		if step := timing.Buckets[i] / timing.Buckets[i-1]; step <= 1 || step > 3.001 {
			t.Errorf("from %g to %g", timing.Buckets[i-1], timing.Buckets[i])
		}
	}
}
