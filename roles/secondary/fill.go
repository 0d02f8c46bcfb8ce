package secondary

import (
	"sync"
	"time"

	"pdns-distribute/health"
)

// A fill is background work of some size: all zones of a new secondary, what was published while one was away, or what
// PowerDNS lost.
const (
	fillFrom = 100 // zones that are left when it begins

	// rateOver is the time over which its rate is measured, once or twice that.
	rateOver = 30 * time.Second
)

// fill follows the fill that is under way. It is safe for concurrent use.
type fill struct {
	left func() int // zones that wait

	// Under mu.
	mu    sync.Mutex
	under bool // one is under way
	done  int  // zones, since it began
	marks [2]mark
}

// mark is how far a fill was.
type mark struct {
	at   time.Time
	done int
}

func newFill(left func() int) *fill { return &fill{left: left} }

// taken counts a zone that waits no more.
func (f *fill) taken() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done++
}

// report returns how far the fill is, nil where there is none. It is called every few seconds.
func (f *fill) report(now time.Time) *health.Fill {
	left := f.left()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case left == 0, !f.under && left < fillFrom:
		f.under, f.done = false, 0
		return nil
	case !f.under:
		f.under, f.done, f.marks = true, 0, [2]mark{{at: now}, {at: now}}
	case now.Sub(f.marks[1].at) >= rateOver:
		f.marks = [2]mark{f.marks[1], {now, f.done}}
	}
	report := &health.Fill{Done: f.done, Zones: f.done + left}
	if over := now.Sub(f.marks[0].at); over > 0 {
		report.Rate = float64(f.done-f.marks[0].done) / over.Seconds()
	}
	return report
}

// waiting is how many zones wait that nobody waits for: in the feed, in the queue, in batches, and to be given to
// PowerDNS again, but for those that fail. One may be counted twice.
func (s *Secondary) waiting() int {
	refills := s.refills.Size() - s.Failures.Count()
	return s.feed.waiting() + max(s.jobs.Waiting()+s.jobs.Resting(), refills)
}
