package proxy

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// Marker stores touches where the primary finds them. When a call returns nil the touch survives a crash of everything
// but the broker's disk; after an error it may or may not have been stored, and marking again does no harm. seq is the
// touch's place in the queue: higher is later.
type Marker interface {
	Touch(ctx context.Context, name zone.Name, reason string) (seq uint64, err error)
	Sweep(ctx context.Context) error
}

// dirtySet holds the zones whose touch has not been stored yet. What an answer went out for is in the journal, too, so
// that it outlives this process.
type dirtySet struct {
	marker  Marker
	journal *journal
	log     zerolog.Logger
	gauge   func(float64)
	limit   int // of zones; what comes beyond becomes a request for a sweep

	mu    sync.Mutex
	zones map[zone.Name]mark // the zero name stands for all: a sweep is to be asked for
	later []delayed          // in the order of their time
	last  uint64
	wake  chan struct{}
}

// maxDirty is how many zones may wait, in memory and in the journal: PowerDNS that answers nobody is asked about any name
// by anybody.
const maxDirty = 500_000

// mark is one touch that must be stored; number tells it from a later one of the same zone.
type mark struct {
	number uint64
	reason string
}

// delayed is a touch of what PowerDNS does only after its answer.
type delayed struct {
	at time.Time
	touch
}

// newDirtySet begins with what the journal has, and with a request for a sweep: whoever was killed may have left more.
func newDirtySet(marker Marker, j *journal, log zerolog.Logger, gauge func(float64)) *dirtySet {
	d := &dirtySet{marker: marker, journal: j, log: log, gauge: gauge, limit: maxDirty, zones: map[zone.Name]mark{}, wake: make(chan struct{}, 1)}
	for _, t := range append(j.touches(), touch{}) {
		d.add(t)
	}
	return d
}

// store marks the zone and tries to store the touch at once, for at most patience. It returns false when the touch must
// wait; then run stores it later. A touch without a zone asks for a sweep.
func (d *dirtySet) store(ctx context.Context, t touch, patience time.Duration) (seq uint64, stored bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m := d.add(t)
	seq, err := d.mark(ctx, t.zone, m)
	if err == nil {
		return seq, true
	}
	d.log.Warn().Err(err).Stringer("zone", t.zone).Msg("the broker is away: the change is queued here until it is back")
	if err := d.journal.add(t); err != nil {
		d.log.Error().Err(err).Stringer("zone", t.zone).Msg("the queued change would not outlive this process; is the disk of proxy.state_dir full?")
	}
	d.wakeUp()
	return 0, false
}

// insist stores a touch that waits once more, as soon as the broker is back, for somebody who must know its place.
func (d *dirtySet) insist(ctx context.Context, t touch) (seq uint64, stored bool) {
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(retryMin):
		}
		if seq, err := d.once(ctx, t); err == nil {
			return seq, true
		}
	}
}

// insistPatience is how long one attempt may take: an answer may have been lost.
const insistPatience = 2 * time.Second

func (d *dirtySet) once(ctx context.Context, t touch) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, insistPatience)
	defer cancel()
	return d.marker.Touch(ctx, t.zone, t.reason)
}

// mark stores the touch and, if none is newer, forgets it.
func (d *dirtySet) mark(ctx context.Context, name zone.Name, m mark) (seq uint64, err error) {
	if name == "" {
		err = d.marker.Sweep(ctx)
	} else {
		seq, err = d.marker.Touch(ctx, name, m.reason)
	}
	if err == nil {
		d.remove(name, m.number)
	}
	return seq, err
}

func (d *dirtySet) add(t touch) mark {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	if before, is := d.zones[t.zone]; is && before.reason == ReasonDelete && (t.reason == ReasonRetrieve || t.reason == ReasonNotify) {
		t.reason = ReasonDelete // these tell nothing new of a zone, and a deletion must be told
	}
	if _, is := d.zones[t.zone]; !is && len(d.zones) >= d.limit {
		t.zone = "" // a sweep looks at all of them
	}
	m := mark{d.last, t.reason}
	d.zones[t.zone] = m
	d.gauge(float64(d.count()))
	return m
}

// remove forgets the zone unless it was marked again since. The journal ends with the last one.
func (d *dirtySet) remove(name zone.Name, number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.zones[name].number == number {
		delete(d.zones, name)
	}
	d.gauge(float64(d.count()))
	if len(d.zones) == 0 {
		if err := d.journal.clear(); err != nil {
			d.log.Warn().Err(err).Msg("changes that are stored stay in the journal; they will be looked at again")
		}
	}
}

// repeat marks the touch again after these times: PowerDNS does what it was asked only after its answer. A crash forgets
// it; the sweep at the next start finds what moved a serial.
func (d *dirtySet) repeat(t touch, now time.Time, after ...time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pause := range after {
		if len(d.later) < maxDelayed {
			d.later = append(d.later, delayed{now.Add(pause), t})
		}
	}
	slices.SortStableFunc(d.later, func(a, b delayed) int { return a.at.Compare(b.at) })
	d.wakeUp()
}

// maxDelayed bounds the touches that wait for their time.
const maxDelayed = 10_000

// due marks what has reached its time, and returns how long until the next does; false when there is none.
func (d *dirtySet) due(now time.Time) (time.Duration, bool) {
	for {
		d.mu.Lock()
		if len(d.later) == 0 {
			d.mu.Unlock()
			return 0, false
		}
		next := d.later[0]
		if next.at.After(now) {
			d.mu.Unlock()
			return next.at.Sub(now), true
		}
		d.later = d.later[1:]
		d.mu.Unlock()
		d.add(next.touch)
	}
}

func (d *dirtySet) is(name zone.Name, number uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.zones[name].number == number
}

// waiting returns the zones that wait, the first marked first.
func (d *dirtySet) waiting() (names []zone.Name, marks map[zone.Name]mark) {
	d.mu.Lock()
	defer d.mu.Unlock()
	marks = maps.Clone(d.zones)
	return slices.SortedFunc(maps.Keys(marks), func(a, b zone.Name) int { return cmp.Compare(marks[a].number, marks[b].number) }), marks
}

// has tells whether a touch of the zone waits.
func (d *dirtySet) has(name zone.Name) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.zones[name]
	return is
}

// Len is how many zones wait.
func (d *dirtySet) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count()
}

func (d *dirtySet) count() int {
	if _, sweep := d.zones[""]; sweep {
		return len(d.zones) - 1
	}
	return len(d.zones)
}

func (d *dirtySet) wakeUp() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

const (
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
)

// run stores what waits, until ctx ends.
func (d *dirtySet) run(ctx context.Context) error {
	for pause := retryMin; ; {
		next, more := d.due(time.Now())
		if d.flush(ctx) {
			pause = retryMin
		} else {
			next, more = pause, true
			pause = min(2*pause, retryMax)
		}
		var again <-chan time.Time
		if more {
			again = time.After(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-d.wake:
		}
	}
}

// flush stores what waits; false when something still does.
func (d *dirtySet) flush(ctx context.Context) bool {
	names, marks := d.waiting()
	for _, name := range names {
		m := marks[name]
		if !d.is(name, m.number) { // stored meanwhile, or marked again
			continue
		}
		if _, err := d.mark(ctx, name, m); err != nil {
			return false
		}
		d.log.Debug().Stringer("zone", name).Msg("stored the queued change")
	}
	return true
}
