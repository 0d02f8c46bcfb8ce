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
	TrackerOptions

	mu          sync.Mutex
	since       time.Time            // when the present connection began
	secondaries map[string]time.Time // when each was last heard of
	watches     map[zone.Name]map[*watch]struct{}
	asked       map[zone.Name]time.Time // of the zones that are watched
}

// TrackerOptions are what a tracker hears by.
type TrackerOptions struct {
	Ask       func(zone.Name) error // has all nodes tell again what they know of the zone
	Connected func() bool           // whether anything can be heard

	// InactiveAfter is how long a secondary may be silent before it is not waited for.
	InactiveAfter time.Duration

	// Hearing is how long it takes to hear of everybody who is there. For so long after a connection began nothing counts
	// as served everywhere.
	Hearing time.Duration
}

// NewTracker makes one that has heard of nobody.
func NewTracker(o TrackerOptions) *Tracker {
	return &Tracker{
		TrackerOptions: o, secondaries: map[string]time.Time{}, watches: map[zone.Name]map[*watch]struct{}{}, asked: map[zone.Name]time.Time{},
	}
}

// watch collects what is told of one zone while somebody waits for it. Each who waits has one: what was told before may
// be about a queue that is no more.
type watch struct {
	*Tracker
	name zone.Name

	// All under the tracker's lock.
	settled *health.Settled // the newest
	pending uint64          // the last touch that was said to be pending
	applied map[string]health.Applied
	changed chan struct{} // closed at each word
}

// Resumed notes that a connection began. Silence of before says nothing of those who were known.
func (t *Tracker) Resumed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
}

// Seen notes that a secondary was there at that time.
func (t *Tracker) Seen(secondary string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, is := t.secondaries[secondary]
	if is && at.After(last) || !is && len(t.secondaries) < health.MaxNodes {
		t.secondaries[secondary] = at
	}
}

// Settled notes what a primary told.
func (t *Tracker) Settled(s health.Settled) {
	t.note(s.Zone, func(w *watch) {
		if s.Pending {
			w.pending = max(w.pending, s.Touch)
		}
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
		if told && a.Gone == before.Gone && a.Published.Before(before.Published) || !told && len(w.applied) >= health.MaxNodes {
			return
		}
		a.Mended = a.Mended || before.Mended && a.Published.Equal(before.Published)
		w.applied[secondary] = a
	})
}

func (t *Tracker) note(name zone.Name, change func(*watch)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for w := range t.watches[name] {
		change(w)
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// watch begins to collect what is told of the zone, until stop is called.
func (t *Tracker) watch(name zone.Name) *watch {
	w := &watch{Tracker: t, name: name, applied: map[string]health.Applied{}, changed: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.watches[name] == nil {
		t.watches[name] = map[*watch]struct{}{}
	}
	t.watches[name][w] = struct{}{}
	return w
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches[w.name], w)
	if len(w.watches[w.name]) == 0 {
		delete(w.watches, w.name)
		delete(w.asked, w.name)
	}
}

// askPause is between two questions about one zone: the answers are for all who wait.
const askPause = 40 * time.Millisecond

// ask has all tell again. Without a connection there is no answer, and who waits asks again.
func (w *watch) ask() {
	w.mu.Lock()
	now := time.Now()
	due := now.Sub(w.asked[w.name]) >= askPause
	if due {
		w.asked[w.name] = now
	}
	w.mu.Unlock()
	if due {
		_ = w.Ask(w.name)
	}
}

// Progress is how far a change is.
type Progress struct {
	Zone        zone.Name
	Settled     *health.Settled // the state that the change has led to; nil: the primary has not told yet
	Secondaries []Standing      // the active ones, by name
	Deaf        bool            // there may be others that were not heard of
}

// Standing is what one secondary serves.
type Standing struct {
	Node   string
	Told   *health.Applied // nil: nothing yet
	InSync bool
}

// InSync tells whether every active secondary serves the change. Where there is none nothing is served.
func (p Progress) InSync() bool {
	return !p.Deaf && len(p.Secondaries) > 0 && p.Served() == len(p.Secondaries)
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

// progress puts together what was told. A touch of 0 is the last one that is known to be pending. anew takes no word of a
// state that was published before, though it be the same. The channel is closed when more is told.
func (w *watch) progress(touch uint64, anew bool) (Progress, <-chan struct{}) {
	connected := w.Connected()
	w.mu.Lock()
	defer w.mu.Unlock()
	if touch == 0 {
		touch = w.pending
	}
	p := Progress{Zone: w.name, Settled: w.settled, Deaf: !connected || time.Since(w.since) < w.Hearing}
	done := w.settled != nil && !w.settled.Pending && w.settled.Touch >= touch
	for node, seen := range w.secondaries {
		if connected && time.Since(seen) > w.InactiveAfter && time.Since(w.since) > w.InactiveAfter {
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

// Follow has a touch stored and returns when every active secondary has taken anew what it has led to, or ctx ends. A
// touch that was replaced by another one, which did not have the zone published anew, is stored again.
func (t *Tracker) Follow(ctx context.Context, name zone.Name, store func(context.Context) (touch uint64, err error)) (Progress, error) {
	w := t.watch(name)
	defer w.stop()
	for {
		touch, err := store(ctx)
		if err != nil {
			return Progress{Zone: name}, err
		}
		p := w.await(ctx, touch, true)
		if !p.InSync() || p.Settled.Again {
			return p, nil
		}
	}
}

// Learn asks how the zone stands and returns when all have told, or ctx ends.
func (t *Tracker) Learn(ctx context.Context, name zone.Name) Progress {
	w := t.watch(name)
	defer w.stop()
	return w.learn(ctx, 0, false)
}

// learn asks how the zone stands and returns when all have told, or, if patient, when every secondary serves what the
// touch has led to; in any case when ctx ends.
func (w *watch) learn(ctx context.Context, touch uint64, patient bool) Progress {
	w.ask() // await asks again
	if patient {
		return w.await(ctx, touch, false)
	}
	for {
		p, changed := w.progress(touch, false)
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

// await returns when every active secondary serves what the touch has led to, or ctx ends. The watch must have begun
// before the touch was stored.
func (w *watch) await(ctx context.Context, touch uint64, anew bool) Progress {
	pause := firstAsk
	again := time.NewTimer(pause)
	defer again.Stop()
	for {
		p, changed := w.progress(touch, anew)
		if p.InSync() {
			return p
		}
		select {
		case <-ctx.Done():
			return p
		case <-changed:
		case <-again.C:
			w.ask()
			pause = min(2*pause, lastAsk)
			again.Reset(pause)
		}
	}
}
