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

// Tracker follows the way of the changes that somebody waits for, by the notices of primaries and secondaries about
// them. It is safe for concurrent use.
type Tracker struct {
	TrackerOptions
	propagation *propagation // nil: nobody measures it. It is set before notices come

	mu          sync.Mutex           // guards all below, and the watches
	since       time.Time            // when the present connection began
	secondaries map[string]time.Time // when each was last active
	watches     map[zone.Name]map[*watch]struct{}
	asked       map[zone.Name]time.Time // of the zones that are watched
}

// TrackerOptions are what a tracker goes by.
type TrackerOptions struct {
	Node      string                // the proxy that waits
	Ask       func(zone.Name) error // has all nodes publish again what they have of the zone
	Connected func() bool           // whether notices can come

	// InactiveAfter is how long a secondary may send no heartbeat before it is excluded from waits.
	InactiveAfter time.Duration

	// Discovery is how long it takes until all active nodes are known. For so long after a connection began nothing
	// counts as served everywhere.
	Discovery time.Duration
}

// NewTracker returns a tracker that knows no node yet.
func NewTracker(o TrackerOptions) *Tracker {
	return &Tracker{
		TrackerOptions: o, secondaries: map[string]time.Time{},
		watches: map[zone.Name]map[*watch]struct{}{}, asked: map[zone.Name]time.Time{},
	}
}

// watch collects the notices about one zone while somebody waits for it. Each who waits has one: earlier notices may
// be about a queue that is no more.
type watch struct {
	*Tracker
	name zone.Name
	own  bool // the touch is one of this proxy

	// All under the tracker's lock.
	settled *health.Settled // the newest
	pending uint64          // the last touch that was reported as pending
	applied map[string]health.Applied
	changed chan struct{} // closed at each notice
}

// Resumed notes that a connection began. Silence of before means nothing for those who were known.
func (t *Tracker) Resumed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
}

// Seen notes that a secondary was active at that time.
func (t *Tracker) Seen(secondary string, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, is := t.secondaries[secondary]
	if is && at.After(last) || !is && len(t.secondaries) < health.MaxNodes {
		t.secondaries[secondary] = at
	}
}

// isSilent reports whether a secondary that was seen last at that time counts as inactive; called under mu.
func (t *Tracker) isSilent(seen time.Time) bool {
	return time.Since(seen) > t.InactiveAfter && time.Since(t.since) > t.InactiveAfter
}

// active returns the secondaries that are waited for.
func (t *Tracker) active() (nodes []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for node, seen := range t.secondaries {
		if !t.isSilent(seen) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// Settled takes the notice of a primary.
func (t *Tracker) Settled(s health.Settled) {
	t.propagation.Settled(s)
	t.note(s.Zone, func(w *watch) {
		if s.Pending {
			w.pending = max(w.pending, s.Touch)
		}
		s.Pending = s.Pending || w.excepted(s)
		before := w.settled
		if before == nil || before.Pending || !s.Pending && s.Touch >= before.Touch {
			w.settled = &s
		}
	})
}

// excepted reports whether the touch that is watched may be one that the notice leaves out. Whose touch it is of which
// no more than the number is known, nobody can say.
func (w *watch) excepted(s health.Settled) bool {
	return len(s.Except) > 0 && (!w.own || slices.Contains(s.Except, w.Node))
}

// Applied takes the notice of a secondary. A notice of an earlier publication than before was on its way for longer. A
// secondary that is asked does not know any more that something was repaired.
func (t *Tracker) Applied(secondary string, a health.Applied) {
	t.propagation.Applied(secondary, a)
	t.note(a.Zone, func(w *watch) {
		before, known := w.applied[secondary]
		if known && a.Published.Before(before.Published) || !known && len(w.applied) >= health.MaxNodes {
			return
		}
		a.Repaired = a.Repaired || before.Repaired && a.Published.Equal(before.Published)
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

// watch begins to collect the notices about the zone, until stop is called.
func (t *Tracker) watch(name zone.Name, own bool) *watch {
	w := &watch{Tracker: t, name: name, own: own, applied: map[string]health.Applied{}, changed: make(chan struct{})}
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

// ask has all nodes publish again. Without a connection there is no answer, and who waits asks again.
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
	Settled     *health.Settled // the state that the change has led to; nil: no notice of a primary yet
	Secondaries []Standing      // the active ones, by name
	Incomplete  bool            // there may be others that are not known
}

// Standing is what one secondary serves.
type Standing struct {
	Node    string
	Applied *health.Applied // nil: no notice yet
	InSync  bool
}

// InSync reports whether every active secondary serves the change. Where there is none nothing is served.
func (p Progress) InSync() bool {
	return !p.Incomplete && len(p.Secondaries) > 0 && p.Served() == len(p.Secondaries)
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

// Missing returns the secondaries that do not serve the change, or sent no notice.
func (p Progress) Missing() (nodes []string) {
	for _, s := range p.Secondaries {
		if !s.InSync {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}

// at returns when the last secondary was found to serve it.
func (p Progress) at() (last time.Time) {
	for _, s := range p.Secondaries {
		if s.Applied != nil && s.Applied.At.After(last) {
			last = s.Applied.At
		}
	}
	return last
}

// progress puts the notices together. A touch of 0 is the last one that is known to be pending. The channel is closed
// at the next notice.
func (w *watch) progress(touch uint64) (Progress, <-chan struct{}) {
	connected := w.Connected()
	w.mu.Lock()
	defer w.mu.Unlock()
	if touch == 0 {
		touch = w.pending
	}
	p := Progress{Zone: w.name, Settled: w.settled, Incomplete: !connected || time.Since(w.since) < w.Discovery}
	done := w.settled != nil && !w.settled.Pending && w.settled.Touch >= touch
	for node, seen := range w.secondaries {
		if connected && w.isSilent(seen) {
			continue
		}
		s := Standing{Node: node}
		if a, ok := w.applied[node]; ok {
			s.Applied, s.InSync = &a, done && a.Has(*w.settled)
		}
		p.Secondaries = append(p.Secondaries, s)
	}
	slices.SortFunc(p.Secondaries, func(a, b Standing) int { return cmp.Compare(a.Node, b.Node) })
	return p, w.changed
}

// Follow has a touch stored and returns when every active secondary has taken anew what it has led to, or ctx ends. A
// touch that was replaced by another one, which did not have the zone published anew, is stored again.
func (t *Tracker) Follow(ctx context.Context, name zone.Name,
	store func(context.Context) (touch uint64, err error)) (Progress, error) {
	w := t.watch(name, true)
	defer w.stop()
	for {
		touch, err := store(ctx)
		if err != nil {
			return Progress{Zone: name}, err
		}
		p := w.await(ctx, touch)
		if !p.InSync() || p.Settled.Again {
			return p, nil
		}
	}
}

// Learn asks what all have of the zone and returns when all have answered, or ctx ends.
func (t *Tracker) Learn(ctx context.Context, name zone.Name) Progress {
	w := t.watch(name, false)
	defer w.stop()
	return w.learn(ctx, 0)
}

// learn asks what all have of the zone and returns when all have answered, or ctx ends.
func (w *watch) learn(ctx context.Context, touch uint64) Progress {
	w.ask()
	for {
		p, changed := w.progress(touch)
		if p.answered() {
			return p
		}
		select {
		case <-ctx.Done():
			return p
		case <-changed:
		}
	}
}

// published asks a primary whether the zone is published, or was; false also where none answers before ctx ends.
func (w *watch) published(ctx context.Context) bool {
	w.ask()
	for {
		p, changed := w.progress(0)
		if p.Settled != nil {
			return !p.Settled.Published.IsZero()
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// answered reports whether there is a notice of a primary and of each secondary.
func (p Progress) answered() bool {
	return p.Settled != nil && !slices.ContainsFunc(p.Secondaries, func(s Standing) bool { return s.Applied == nil })
}

// Pauses before all are asked again. Notices get lost with a connection, and who served a change before it was watched
// publishes none unasked.
const (
	firstAsk = 50 * time.Millisecond
	lastAsk  = 2 * time.Second
)

// await returns when every active secondary serves what the touch has led to, or ctx ends. The watch must have begun
// before the touch was stored.
func (w *watch) await(ctx context.Context, touch uint64) Progress {
	pause := firstAsk
	again := time.NewTimer(pause)
	defer again.Stop()
	for {
		p, changed := w.progress(touch)
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
