package roles

import (
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// agenda holds zones that are due at a time, until they are done. It is safe for concurrent use.
type agenda struct {
	added chan struct{}

	mu  sync.Mutex
	due map[zone.Name]time.Time // the zero time once taken
}

func newAgenda() *agenda {
	return &agenda{added: make(chan struct{}, 1), due: map[zone.Name]time.Time{}}
}

func (a *agenda) add(name zone.Name, due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due[name] = due
	notify(a.added, struct{}{})
}

// take returns what has become due.
func (a *agenda) take(now time.Time) (names []zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, due := range a.due {
		if !due.IsZero() && !due.After(now) {
			names = append(names, name)
			a.due[name] = time.Time{}
		}
	}
	return names
}

// takeAway is take for those who do not say when they are done.
func (a *agenda) takeAway(now time.Time) (names []zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, due := range a.due {
		if !due.After(now) {
			names = append(names, name)
			delete(a.due, name)
		}
	}
	return names
}

// takeOne is takeAway for one of the zones.
func (a *agenda) takeOne(now time.Time) (name zone.Name, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, due := range a.due {
		if !due.After(now) {
			delete(a.due, name)
			return name, true
		}
	}
	return "", false
}

// suggest adds the zone if it is not there.
func (a *agenda) suggest(name zone.Name, due time.Time) {
	a.mu.Lock()
	_, is := a.due[name]
	a.mu.Unlock()
	if !is {
		a.add(name, due)
	}
}

// size is how many zones there are.
func (a *agenda) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.due)
}

// hasten makes all zones due.
func (a *agenda) hasten() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for name, due := range a.due {
		if !due.IsZero() {
			a.due[name] = now
		}
	}
	notify(a.added, struct{}{})
}

// done removes the zone.
func (a *agenda) done(name zone.Name) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.due, name)
}
