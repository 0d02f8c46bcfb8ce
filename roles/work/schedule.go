package work

import (
	"context"
	"math"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Schedule holds zones that are due at a time, until they are done. It is safe for concurrent use.
type Schedule struct {
	Added chan struct{} // gets a value when a zone was added
	most  int           // zones that may be suggested

	// Under mu.
	mu  sync.Mutex
	due map[zone.Name]time.Time // the zero time once taken
}

// NewSchedule returns an empty schedule.
func NewSchedule() *Schedule { return NewBoundedSchedule(math.MaxInt) }

// NewBoundedSchedule returns an empty schedule that takes no more suggestions once it has so many zones.
func NewBoundedSchedule(most int) *Schedule {
	return &Schedule{Added: make(chan struct{}, 1), most: most, due: map[zone.Name]time.Time{}}
}

// Add adds the zone, in place of what was there of it.
func (s *Schedule) Add(name zone.Name, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(name, due)
}

// add is Add under mu.
func (s *Schedule) add(name zone.Name, due time.Time) {
	s.due[name] = due
	Notify(s.Added, struct{}{})
}

// Suggest adds the zone unless it is there, or too many are.
func (s *Schedule) Suggest(name zone.Name, due time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.due[name]; !is && len(s.due) < s.most {
		s.add(name, due)
	}
}

// Take returns the zones that have become due. They stay until they are done, and are not due until they are added
// again.
func (s *Schedule) Take(now time.Time) (names []zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, due := range s.due {
		if !due.IsZero() && !due.After(now) {
			names = append(names, name)
			s.due[name] = time.Time{}
		}
	}
	return names
}

// TakeAway removes the zones that are due, and returns them.
func (s *Schedule) TakeAway(now time.Time) (names []zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, due := range s.due {
		if !due.After(now) {
			names = append(names, name)
			delete(s.due, name)
		}
	}
	return names
}

// TakeOne removes one of the zones that are due, and returns it.
func (s *Schedule) TakeOne(now time.Time) (name zone.Name, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, due := range s.due {
		if !due.After(now) {
			delete(s.due, name)
			return name, true
		}
	}
	return "", false
}

// scheduleTick is how often WhenDue looks for zones that have become due.
const scheduleTick = time.Second

// WhenDue calls do for each zone of the schedule when it becomes due, until ctx ends. take is the schedule's Take or
// TakeAway.
func (s *Schedule) WhenDue(ctx context.Context, take func(time.Time) []zone.Name, do func(zone.Name)) {
	tick := time.NewTicker(scheduleTick)
	defer tick.Stop()
	for {
		for _, name := range take(time.Now()) {
			do(name)
		}
		select {
		case <-ctx.Done():
			return
		case <-s.Added:
		case <-tick.C:
		}
	}
}

// Size is how many zones there are.
func (s *Schedule) Size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.due)
}

// Hasten makes all zones due that were not taken.
func (s *Schedule) Hasten() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for name, due := range s.due {
		if !due.IsZero() {
			s.due[name] = now
		}
	}
	Notify(s.Added, struct{}{})
}

// Done removes the zone.
func (s *Schedule) Done(name zone.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.due, name)
}

// Clear removes all zones.
func (s *Schedule) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.due)
}
