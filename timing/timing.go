// Package timing is how metrics count durations: the same for all of them, so that one can be laid beside another.
package timing

// Buckets are the classic buckets of a histogram of durations, in seconds: 1, 2 and 5 of each power of ten, from a
// millisecond to a minute, with no wider step between.
var Buckets = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60}

// The native histogram beside the classic one, for a Prometheus that asks for it: buckets are as wide as a tenth of
// where they begin, and get wider when there are more of them.
const (
	Factor     = 1.1
	MaxBuckets = 160
)
