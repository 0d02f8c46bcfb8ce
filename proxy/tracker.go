package proxy

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// Tracker follows the way of the changes that somebody waits for: what primaries and secondaries tell about them. It is
// safe for concurrent use.
type Tracker struct {
	ask           func(zone.Name) error
	inactiveAfter time.Duration

	mu          sync.Mutex
	secondaries map[string]time.Time // when each was last heard of
	watches     map[zone.Name]*watch
}

// NewTracker makes one that has ask called when it lacks word of a zone: all nodes tell again what they know of it. A
// secondary that was not heard of for inactiveAfter is not waited for.
func NewTracker(inactiveAfter time.Duration, ask func(zone.Name) error) *Tracker {
	return &Tracker{ask: ask, inactiveAfter: inactiveAfter, secondaries: map[string]time.Time{}, watches: map[zone.Name]*watch{}}
}

// watch collects what is told of one zone while somebody waits for it.
type watch struct {
	waiting int
	settled *health.Settled // the newest
	applied map[string]health.Applied
	changed chan struct{} // closed at each word
}

// Seen notes that a secondary was there at that time.
func (t *Tracker) Seen(secondary string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if at.After(t.secondaries[secondary]) {
		t.secondaries[secondary] = at
	}
}

// Settled notes what a primary told.
func (t *Tracker) Settled(s health.Settled) {
	t.note(s.Zone, func(w *watch) {
		if w.settled == nil || s.Touch >= w.settled.Touch {
			w.settled = &s
		}
	})
}

// Applied notes what a secondary told.
func (t *Tracker) Applied(secondary string, a health.Applied) {
	t.note(a.Zone, func(w *watch) { w.applied[secondary] = a })
}

func (t *Tracker) note(name zone.Name, change func(*watch)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.watches[name]; w != nil {
		change(w)
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// watch begins to collect what is told of the zone, until stop is called.
func (t *Tracker) watch(name zone.Name) (stop func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watches[name]
	if w == nil {
		w = &watch{applied: map[string]health.Applied{}, changed: make(chan struct{})}
		t.watches[name] = w
	}
	w.waiting++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if w.waiting--; w.waiting == 0 {
			delete(t.watches, name)
		}
	}
}

// progress is how far a change is.
type progress struct {
	zone        zone.Name
	settled     *health.Settled // the state that the change has led to; nil: the primary has not told yet
	secondaries []standing      // the active ones, by name
}

// standing is what one secondary serves.
type standing struct {
	node   string
	told   *health.Applied // nil: nothing yet
	inSync bool
}

// inSync tells whether every active secondary serves the change. Where there is none nothing is served.
func (p progress) inSync() bool {
	return len(p.secondaries) > 0 && p.served() == len(p.secondaries)
}

func (p progress) served() (n int) {
	for _, s := range p.secondaries {
		if s.inSync {
			n++
		}
	}
	return n
}

// missing names the secondaries that do not serve the change, or told nothing.
func (p progress) missing() (nodes []string) {
	for _, s := range p.secondaries {
		if !s.inSync {
			nodes = append(nodes, s.node)
		}
	}
	return nodes
}

// at is when the last secondary was found to serve it.
func (p progress) at() (last time.Time) {
	for _, s := range p.secondaries {
		if s.told != nil && s.told.At.After(last) {
			last = s.told.At
		}
	}
	return last
}

// progress puts together what was told of a zone that is being watched. The channel is closed when more is told.
func (t *Tracker) progress(name zone.Name, touch uint64) (progress, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watches[name]
	p := progress{zone: name, settled: w.settled}
	done := w.settled != nil && !w.settled.Pending && w.settled.Touch >= touch
	for node, seen := range t.secondaries {
		if time.Since(seen) > t.inactiveAfter {
			continue
		}
		s := standing{node: node}
		if a, ok := w.applied[node]; ok {
			s.told, s.inSync = &a, done && a.Has(*w.settled)
		}
		p.secondaries = append(p.secondaries, s)
	}
	slices.SortFunc(p.secondaries, func(a, b standing) int { return cmp.Compare(a.node, b.node) })
	return p, w.changed
}

// learn asks how the zone stands and returns when all have told, or, if patient, when every secondary serves what the
// touch has led to; in any case when ctx ends. The zone must be watched.
func (t *Tracker) learn(ctx context.Context, name zone.Name, touch uint64, patient bool) progress {
	_ = t.ask(name) // await asks again
	if patient {
		return t.await(ctx, name, touch)
	}
	for {
		p, changed := t.progress(name, touch)
		if p.told() {
			return p
		}
		select {
		case <-ctx.Done():
			return p
		case <-changed:
		}
	}
}

// told tells whether everybody has told something.
func (p progress) told() bool {
	return p.settled != nil && !slices.ContainsFunc(p.secondaries, func(s standing) bool { return s.told == nil })
}

// Pauses before all are asked again. Word gets lost with a connection, and who served a change before it was watched
// tells nothing unasked.
const (
	firstAsk = 50 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// await returns when every active secondary serves what the touch has led to, or ctx ends. The zone must be watched
// since before the touch was stored.
func (t *Tracker) await(ctx context.Context, name zone.Name, touch uint64) progress {
	pause := firstAsk
	again := time.NewTimer(pause)
	defer again.Stop()
	for {
		p, changed := t.progress(name, touch)
		if p.inSync() {
			return p
		}
		select {
		case <-ctx.Done():
			return p
		case <-changed:
		case <-again.C:
			_ = t.ask(name) // without a connection there is no answer: asked again
			pause = min(2*pause, lastAsk)
			again.Reset(pause)
		}
	}
}
