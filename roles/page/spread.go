package page

import (
	"math"
	"time"
)

// The classes of a spread: the first ends at 10 ms, each other one half as long again, the last has all above.
const (
	classes    = 24
	firstClass = 10 * time.Millisecond
	growth     = 1.5
)

// spread counts by how long it took until a secondary served a change.
type spread [classes]uint32

func classOf(d time.Duration) int {
	if d <= firstClass {
		return 0
	}
	return min(classes-1, int(math.Ceil(math.Log(float64(d)/float64(firstClass))/math.Log(growth))))
}

// endOf returns where a class ends.
func endOf(class int) time.Duration {
	return time.Duration(float64(firstClass) * math.Pow(growth, float64(class)))
}

func (s *spread) note(d time.Duration) { s[classOf(d)]++ }

func (s *spread) add(other spread) {
	for i, n := range other {
		s[i] += n
	}
}

func (s spread) count() (n int) {
	for _, c := range s {
		n += int(c)
	}
	return n
}

// within returns within what time that part of all was served: the end of its class. ok is false if there is none.
func (s spread) within(part float64) (d time.Duration, ok bool) {
	left := part * float64(s.count())
	for class, n := range s {
		if left -= float64(n); left <= 0 && n > 0 {
			return endOf(class), true
		}
	}
	return 0, false
}
