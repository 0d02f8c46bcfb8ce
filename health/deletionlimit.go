package health

import (
	"fmt"
	"maps"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// DeleteWindow is the time within which deletions count together.
const DeleteWindow = time.Hour

// DeletionLimit holds deletions beyond what an operator would expect, of zones that were found to be gone and that
// nobody ordered to be deleted. It is safe for concurrent use.
type DeletionLimit struct {
	percent int
	window  time.Duration

	mu sync.Mutex // guards all below

	granted   map[zone.Name]time.Time // a deletion that is tried again is the same deletion
	confirmed map[zone.Name]time.Time // likewise, by an operator: they do not count
	holds     map[zone.Name]span      // deletions that were refused
	unnamed   int                     // deletions that were refused last besides, and have no name yet
	expired   time.Time               // when holds that are over were last forgotten

	open      time.Time // until when the operator's confirmation is good ...
	left      int       // ... and for how many zones more
	elsewhere time.Time // until when another limit over the same zones counts as holding deletions
}

// span is when a zone was first refused, and when last.
type span struct{ since, last time.Time }

// HeldError says that deletions were not allowed.
type HeldError struct {
	Zones, Total  int // that were to be deleted, and that there are
	Limit, Before int // how many may be within the window, and how many were
	Window        time.Duration
	Elsewhere     bool // another primary holds deletions
}

func (e HeldError) Error() string {
	text := fmt.Sprintf("%d of %d zones (limit %d within %s and never all, %d used)",
		e.Zones, e.Total, e.Limit, e.Window, e.Before)
	if e.Elsewhere {
		text += "; another primary holds deletions, too"
	}
	return text
}

// freeDeletions may be found in a window however few zones there are, as long as others remain.
const freeDeletions = 3

// NewDeletionLimit allows percent of all zones, or three, to be found deleted within each window; 0 allows none.
func NewDeletionLimit(percent int, window time.Duration) *DeletionLimit {
	return &DeletionLimit{
		percent: percent, window: window,
		granted: map[zone.Name]time.Time{}, confirmed: map[zone.Name]time.Time{}, holds: map[zone.Name]span{},
	}
}

// Allow asks for the deletion of zones at once, out of total zones that exist; all are allowed or none (HeldError).
// Those that were allowed within the window do not count again; more are others that are to be deleted as well, and
// not named yet, and what is held already is asked for along with them. All zones at once are never allowed: that is
// what a lost database looks like.
func (l *DeletionLimit) Allow(now time.Time, zones []zone.Name, more, total int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expire(now)
	var fresh []zone.Name
	for _, name := range zones {
		_, granted := l.granted[name]
		if _, confirmed := l.confirmed[name]; !granted && !confirmed {
			fresh = append(fresh, name)
		}
	}
	n := 0
	if len(fresh)+more > 0 { // else all of them were allowed before, whatever else is held
		n = len(fresh) + more + l.others(fresh)
	}
	by, elsewhere := l.granted, now.Before(l.elsewhere)
	switch limit := l.limit(total); {
	case n > 0 && now.Before(l.open) && n <= l.left:
		by, l.left = l.confirmed, l.left-len(fresh)
	case n > 0 && (elsewhere || len(l.granted)+n > limit || n >= total):
		l.refuse(now, fresh, more)
		return HeldError{Zones: n, Total: total, Limit: limit, Before: len(l.granted), Window: l.window, Elsewhere: elsewhere}
	}
	for _, name := range fresh {
		by[name] = now
	}
	for _, name := range zones {
		delete(l.holds, name)
	}
	l.unnamed = 0
	return nil
}

// others is how many are held besides: one by one each of them would seem to be the only one.
func (l *DeletionLimit) others(zones []zone.Name) int {
	n := len(l.holds)
	for _, name := range zones {
		if _, is := l.holds[name]; is {
			n--
		}
	}
	return n
}

func (l *DeletionLimit) limit(total int) int {
	if l.percent == 0 {
		return 0
	}
	return max(freeDeletions, total*l.percent/100)
}

// expire forgets what was allowed before the window, and what was not asked for again within it.
func (l *DeletionLimit) expire(now time.Time) {
	for _, allowed := range []map[zone.Name]time.Time{l.granted, l.confirmed} {
		maps.DeleteFunc(allowed, func(_ zone.Name, at time.Time) bool { return now.Sub(at) > l.window })
	}
	if now.Sub(l.expired) >= expirePause {
		l.expired = now
		maps.DeleteFunc(l.holds, func(_ zone.Name, s span) bool { return now.Sub(s.last) > l.window })
	}
}

func (l *DeletionLimit) refuse(now time.Time, zones []zone.Name, unnamed int) {
	l.unnamed = unnamed
	for _, name := range zones {
		s, is := l.holds[name]
		if !is {
			s.since = now
		}
		s.last = now
		l.holds[name] = s
	}
}

// Confirm lets count deletions pass within the given time, besides those that need no confirmation.
func (l *DeletionLimit) Confirm(now time.Time, d time.Duration, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open, l.left = now.Add(d), count
}

// HeldElsewhere has deletions held until then, unless they are confirmed: another primary holds some of the same
// zones, and this limit, which has not been used up, must not let them pass.
func (l *DeletionLimit) HeldElsewhere(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elsewhere = until
}

// Holds reports whether the deletion of the zone has been refused for at least that long: then nobody but an operator
// lets it pass.
func (l *DeletionLimit) Holds(now time.Time, name zone.Name, atLeast time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, is := l.holds[name]
	return is && now.Sub(s.last) <= l.window && now.Sub(s.since) >= atLeast
}

// Only notes which zones are to be deleted at all by now: what else was held is there again, or was let pass otherwise.
func (l *DeletionLimit) Only(zones []zone.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(zones) == 0 {
		l.unnamed = 0
	}
	if len(l.holds) == 0 {
		return
	}
	kept := make(map[zone.Name]span, min(len(zones), len(l.holds)))
	for _, name := range zones {
		if s, is := l.holds[name]; is {
			kept[name] = s
		}
	}
	l.holds = kept
}

// Release lets the deletion of one zone pass that was ordered.
func (l *DeletionLimit) Release(name zone.Name) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.holds, name)
}

// Held is how many deletions wait for a confirmation.
func (l *DeletionLimit) Held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.holds) + l.unnamed
}
