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

// Settled notes what a primary told. That a touch is pending takes nothing back, and what is settled then goes before it,
// whatever the touch: others were stored meanwhile.
func (t *Tracker) Settled(s health.Settled) {
	t.note(s.Zone, func(w *watch) {
		before := w.settled
		if before == nil || before.Pending || !s.Pending && s.Touch >= before.Touch {
			w.settled = &s
		}
	})
}

// Applied notes what a secondary told. Asked, it may not know any more what it told of its own accord: of a tombstone
// nothing is left, of a state that was published anew the first publication, and that something was mended is forgotten.
func (t *Tracker) Applied(secondary string, a health.Applied) {
	t.note(a.Zone, func(w *watch) {
		before, told := w.applied[secondary]
		if told && a.Gone == before.Gone && a.Published.Before(before.Published) {
			return
		}
		a.Mended = a.Mended || before.Mended && a.Published.Equal(before.Published)
		w.applied[secondary] = a
	})
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

// Progress is how far a change is.
type Progress struct {
	Zone        zone.Name
	Settled     *health.Settled // the state that the change has led to; nil: the primary has not told yet
	Secondaries []Standing      // the active ones, by name
}

// Standing is what one secondary serves.
type Standing struct {
	Node   string
	Told   *health.Applied // nil: nothing yet
	InSync bool
}

// InSync tells whether every active secondary serves the change. Where there is none nothing is served.
func (p Progress) InSync() bool {
	return len(p.Secondaries) > 0 && p.Served() == len(p.Secondaries)
}

// Served counts the secondaries that serve the change.
func (p Progress) Served() (n int) {
	for _, s := range p.Secondaries {
		if s.InSync {
			n++
		}
	}
	return n
}

// Missing names the secondaries that do not serve the change, or told nothing.
func (p Progress) Missing() (nodes []string) {
	for _, s := range p.Secondaries {
		if !s.InSync {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}

// at is when the last secondary was found to serve it.
func (p Progress) at() (last time.Time) {
	for _, s := range p.Secondaries {
		if s.Told != nil && s.Told.At.After(last) {
			last = s.Told.At
		}
	}
	return last
}

// progress puts together what was told of a zone that is being watched. anew takes no word of a state that was published
// before, though it be the same. The channel is closed when more is told.
func (t *Tracker) progress(name zone.Name, touch uint64, anew bool) (Progress, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.watches[name]
	p := Progress{Zone: name, Settled: w.settled}
	done := w.settled != nil && !w.settled.Pending && w.settled.Touch >= touch
	for node, seen := range t.secondaries {
		if time.Since(seen) > t.inactiveAfter {
			continue
		}
		s := Standing{Node: node}
		if a, ok := w.applied[node]; ok {
			s.Told, s.InSync = &a, done && a.Has(*w.settled) && (!anew || !a.Published.Before(w.settled.Published))
		}
		p.Secondaries = append(p.Secondaries, s)
	}
	slices.SortFunc(p.Secondaries, func(a, b Standing) int { return cmp.Compare(a.Node, b.Node) })
	return p, w.changed
}

// Follow has a touch stored and returns when every active secondary has taken anew what it has led to, or ctx ends.
func (t *Tracker) Follow(ctx context.Context, name zone.Name, store func(context.Context) (touch uint64, err error)) (Progress, error) {
	defer t.watch(name)()
	touch, err := store(ctx)
	if err != nil {
		return Progress{Zone: name}, err
	}
	return t.await(ctx, name, touch, true), nil
}

// Learn asks how the zone stands and returns when all have told, or ctx ends.
func (t *Tracker) Learn(ctx context.Context, name zone.Name) Progress {
	defer t.watch(name)()
	return t.learn(ctx, name, 0, false)
}

// learn asks how the zone stands and returns when all have told, or, if patient, when every secondary serves what the
// touch has led to; in any case when ctx ends. The zone must be watched.
func (t *Tracker) learn(ctx context.Context, name zone.Name, touch uint64, patient bool) Progress {
	_ = t.ask(name) // await asks again
	if patient {
		return t.await(ctx, name, touch, false)
	}
	for {
		p, changed := t.progress(name, touch, false)
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
func (p Progress) told() bool {
	return p.Settled != nil && !slices.ContainsFunc(p.Secondaries, func(s Standing) bool { return s.Told == nil })
}

// Pauses before all are asked again. Word gets lost with a connection, and who served a change before it was watched
// tells nothing unasked.
const (
	firstAsk = 50 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// await returns when every active secondary serves what the touch has led to, or ctx ends. The zone must be watched
// since before the touch was stored.
func (t *Tracker) await(ctx context.Context, name zone.Name, touch uint64, anew bool) Progress {
	pause := firstAsk
	again := time.NewTimer(pause)
	defer again.Stop()
	for {
		p, changed := t.progress(name, touch, anew)
		if p.InSync() {
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
