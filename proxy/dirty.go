package proxy

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// Marker stores touches where the primary finds them. When a call returns nil the touch survives a crash of everything
// but the broker's disk; after an error it may or may not have been stored, and marking again does no harm.
type Marker interface {
	Touch(ctx context.Context, name zone.Name, reason string) error
	Sweep(ctx context.Context) error
}

// dirtySet holds the zones whose touch has not been stored yet.
type dirtySet struct {
	marker Marker
	log    zerolog.Logger
	gauge  func(float64)
	swept  atomic.Bool // the sweep that a start asks for, or an unreadable create, has been stored

	mu    sync.Mutex
	zones map[zone.Name]mark
	last  uint64
	wake  chan struct{}
}

// mark is one touch that must be stored; number tells it from a later one of the same zone.
type mark struct {
	number uint64
	reason string
}

func newDirtySet(marker Marker, log zerolog.Logger, gauge func(float64)) *dirtySet {
	return &dirtySet{marker: marker, log: log, gauge: gauge, zones: map[zone.Name]mark{}, wake: make(chan struct{}, 1)}
}

// store marks the zone and tries to store the touch at once, for at most patience. It returns false when the touch must
// wait; then run stores it later.
func (d *dirtySet) store(ctx context.Context, t touch, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if t.zone == "" {
		return d.sweep(ctx)
	}
	m := d.add(t)
	if err := d.marker.Touch(ctx, t.zone, m.reason); err != nil {
		d.log.Warn().Err(err).Stringer("zone", t.zone).Msg("the broker is away: the change is queued here until it is back")
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return false
	}
	d.remove(t.zone, m.number)
	return true
}

// sweep asks for one, now or as soon as the broker is back.
func (d *dirtySet) sweep(ctx context.Context) bool {
	if err := d.marker.Sweep(ctx); err != nil {
		d.swept.Store(false)
		select {
		case d.wake <- struct{}{}:
		default:
		}
		return false
	}
	return true
}

func (d *dirtySet) add(t touch) mark {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last++
	m := mark{d.last, t.reason}
	d.zones[t.zone] = m
	d.gauge(float64(len(d.zones)))
	return m
}

// remove forgets the zone unless it was marked again since.
func (d *dirtySet) remove(name zone.Name, number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.zones[name].number == number {
		delete(d.zones, name)
	}
	d.gauge(float64(len(d.zones)))
}

func (d *dirtySet) is(name zone.Name, number uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.zones[name].number == number
}

func (d *dirtySet) snapshot() map[zone.Name]mark {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := make(map[zone.Name]mark, len(d.zones))
	for name, m := range d.zones {
		c[name] = m
	}
	return c
}

// Len is how many zones wait.
func (d *dirtySet) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.zones)
}

const (
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
)

// run stores what waits, first of all the request for a sweep that every start makes, until ctx ends.
func (d *dirtySet) run(ctx context.Context) error {
	for pause := retryMin; ; {
		var again <-chan time.Time
		if d.flush(ctx) {
			pause = retryMin
		} else {
			again = time.After(pause)
			pause = min(2*pause, retryMax)
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
	if !d.swept.Swap(true) {
		if err := d.marker.Sweep(ctx); err != nil {
			d.swept.Store(false)
			return false
		}
	}
	for name, m := range d.snapshot() {
		if !d.is(name, m.number) { // stored meanwhile, or marked again
			continue
		}
		if err := d.marker.Touch(ctx, name, m.reason); err != nil {
			return false
		}
		d.remove(name, m.number)
		d.log.Info().Stringer("zone", name).Msg("stored the queued change")
	}
	return true
}
