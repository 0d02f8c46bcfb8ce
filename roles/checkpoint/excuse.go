package checkpoint

import (
	"math"
	"time"
)

// What else than the broker may be the reason that something is missing. Times are by the judge's clock; host is the
// time by the host's own.

// effort is how busy this node is with states that it has whole, verifying their content and giving it to PowerDNS:
// while that takes long, it is not the broker that is slow.
type effort struct {
	most    int               // tasks at a time with which this node is busy
	tasks   map[int]time.Time // since when they are under way, by the host's clock
	last    int               // the task that was begun last
	counted time.Time         // up to when full was counted, by the host's clock
	full    fading            // seconds in which this node was busy
	slow    time.Time         // when this node was last known to be slow itself
}

func (e *effort) begin(host, now time.Time) (task int) {
	e.count(host, now)
	e.last++
	e.tasks[e.last] = host
	return e.last
}

func (e *effort) end(task int, host, now time.Time) {
	e.count(host, now)
	if host.Sub(e.tasks[task]) >= slow {
		e.slow = now
	}
	delete(e.tasks, task)
}

// look notes whether this node is slow now.
func (e *effort) look(l Local, host, now time.Time) {
	e.count(host, now)
	busy := !l.PowerDNS
	for _, begun := range e.tasks {
		busy = busy || host.Sub(begun) >= slow
	}
	if busy {
		e.slow = now
	}
}

// count notes how long this node was busy. Call it before tasks change.
func (e *effort) count(host, now time.Time) {
	if len(e.tasks) >= e.most {
		e.full.add(now, host.Sub(e.counted).Seconds())
	}
	e.counted = host
}

// inflow is what came in while something was missing.
type inflow struct {
	moved  time.Time // when a state, or a piece of one, last came that the oldest difference may be for
	late   time.Time // when another one last came that should have come before
	gained fading    // what moved, each 64 KB of a large state counted as one
}

func (f *inflow) add(now time.Time, size uint32) {
	f.moved = now
	f.gained.add(now, 1+float64(size)/(64<<10))
}

// excused returns what decides of a difference whether there may be another reason for it than the broker.
//
// That states come in is one while this node takes them as fast as it can. A broker that delays all states so that one
// which it withholds does not show, or gives out bit by bit what it holds back, gains latePatience by that.
func excused(now time.Time, e effort, f inflow) func(difference) bool {
	recent := func(t time.Time) bool { return now.Sub(t) < patience }
	full := e.full.now(now) >= patience.Seconds()/3
	fast := f.gained.now(now) >= patience.Seconds() // one a second
	return func(d difference) bool {
		early := now.Sub(d.since) < latePatience
		moves := recent(f.moved) && (early || full || fast) || recent(f.late) && (early || full)
		return recent(d.since) || recent(e.slow) || moves
	}
}

// fading is a sum of what happened lately: what was added patience ago counts for a third.
type fading struct {
	sum float64
	at  time.Time
}

func (f fading) now(now time.Time) float64 {
	return f.sum * math.Exp(-now.Sub(f.at).Seconds()/patience.Seconds())
}

func (f *fading) add(now time.Time, amount float64) { *f = fading{f.now(now) + amount, now} }
