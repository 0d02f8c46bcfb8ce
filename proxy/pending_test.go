package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/must"
	"pdns-distribute/powerdns/zone"
)

// queue is a Marker that can be away, and that shows what it stored: "sweep", "change ZONE", "delete ZONE", and "create
// ZONE" for a change with the serial that PowerDNS showed.
type queue struct {
	stored atomic.Uint64

	mu     sync.Mutex
	away   bool
	events []string
	more   chan struct{} // gets a value with each event; may be nil

	// storing is called with each touch before it is stored; may be nil.
	storing func(ctx context.Context, event string)
}

var errAway = errors.New("the broker is away")

func (q *queue) Touch(ctx context.Context, t Touch) (seq uint64, err error) {
	word := t.Cause.String()
	if t.Serial != nil {
		word = "create"
	}
	if err := q.store(ctx, word+" "+t.Zone.String()); err != nil {
		return 0, err
	}
	return q.stored.Add(1), nil
}

func (q *queue) Sweep(ctx context.Context) error { return q.store(ctx, "sweep") }

func (q *queue) store(ctx context.Context, event string) error {
	if q.storing != nil {
		q.storing(ctx, event)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return errAway
	}
	q.events = append(q.events, event)
	if q.more != nil {
		q.more <- struct{}{}
	}
	return nil
}

func (q *queue) setAway(away bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = away
}

// take returns what was stored since the last call.
func (q *queue) take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	events := q.events
	q.events = nil
	return events
}

func (q *queue) want(t *testing.T, want ...string) {
	t.Helper()
	if got := q.take(); !slices.Equal(got, want) {
		t.Errorf("stored is %q, want %q", got, want)
	}
}

// forgetLater drops the touches that are to be repeated.
func (d *pendingTouches) forgetLater() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.later = nil
}

// running runs the pending touches of a proxy on q in a bubble of synctest.
func running(t *testing.T, q *queue) *pendingTouches {
	ctx, cancel := context.WithCancel(context.Background())
	d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(float64) {})
	ended := make(chan error, 1)
	go func() { ended <- d.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must.OK(t, <-ended)
	})
	return d
}

func TestSweepIsAskedForUntilItIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true}
		running(t, q)
		time.Sleep(time.Minute)
		q.want(t)
		q.setAway(false)
		time.Sleep(retryMax)
		q.want(t, "sweep")
		time.Sleep(time.Hour)
		q.want(t)
	})
}

func TestPendingTouchIsStoredWhenTheBrokerIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d := running(t, q)
		synctest.Wait()
		q.want(t, "sweep")
		q.setAway(true)
		for _, touch := range []Touch{created(1), example, deleted} {
			if _, stored := d.store(t.Context(), touch, true, time.Second); stored {
				t.Error("stored, though the broker is away")
			}
		}
		time.Sleep(time.Hour)
		if q.want(t); d.Len() != 1 {
			t.Errorf("%d zones wait, want 1", d.Len())
		}
		q.setAway(false)
		time.Sleep(retryMax)
		q.want(t, "delete example.org.") // the last, once
		if d.Len() != 0 {
			t.Errorf("%d zones still wait", d.Len())
		}
	})
}

func TestTouchStoredMeanwhileIsPendingNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true}
		d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(float64) {})
		d.store(t.Context(), example, true, time.Second)
		q.setAway(false)
		if _, stored := d.store(t.Context(), example, true, time.Second); !stored || d.Len() != 0 {
			t.Errorf("%d zones wait", d.Len())
		}
	})
}

// The broker takes a touch while a later write touches the zone again: the later touch is the one that must come.
func TestZoneTouchedAgainWhileItsTouchIsBeingStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(float64) {})
		q.storing = func(context.Context, string) {
			q.storing = nil
			q.setAway(true)
			d.store(t.Context(), deleted, true, time.Second)
			q.setAway(false)
		}
		if _, stored := d.store(t.Context(), example, true, time.Second); !stored {
			t.Error("not stored")
		}
		if q.want(t, "change example.org."); d.Len() != 1 {
			t.Fatalf("%d zones wait, want the one that was touched again", d.Len())
		}
		if !d.flush(t.Context()) {
			t.Error("something still waits")
		}
		q.want(t, "sweep", "delete example.org.")
	})
}

func TestSweepForAnUnknownZoneIsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d := running(t, q)
		synctest.Wait()
		q.want(t, "sweep")
		q.setAway(true)
		if _, stored := d.store(t.Context(), sweep, true, time.Second); stored {
			t.Error("stored, though the broker is away")
		}
		time.Sleep(time.Minute)
		q.setAway(false)
		time.Sleep(retryMax)
		q.want(t, "sweep")
		if _, stored := d.store(t.Context(), sweep, true, time.Second); !stored || d.Len() != 0 {
			t.Errorf("%d zones wait", d.Len())
		}
		q.want(t, "sweep")
	})
}

func TestBrokerThatHangsKeepsAnAnswerForTheSetPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true, storing: func(ctx context.Context, _ string) { <-ctx.Done() }}
		d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(float64) {})
		begin := time.Now()
		if _, stored := d.store(t.Context(), example, true, 2*time.Second); stored || time.Since(begin) != 2*time.Second {
			t.Errorf("gave up after %s", time.Since(begin))
		}
	})
}

func TestManyZonesPendingAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true}
		var gauge float64
		d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(n float64) { gauge = n })
		want := map[string]bool{"sweep": true}
		for n := range 100 {
			name := zone.MustParseName(fmt.Sprintf("z%d.example", n))
			d.store(t.Context(), Touch{Zone: name, Cause: Changed}, true, time.Second)
			want["change "+name.String()] = true
		}
		if gauge != 100 {
			t.Errorf("the metric says %v", gauge)
		}
		q.setAway(false)
		d.flush(t.Context())
		got := map[string]bool{}
		for _, event := range q.take() {
			got[event] = true
		}
		if !maps.Equal(got, want) || gauge != 0 {
			t.Errorf("stored %d of %d, the metric says %v", len(got), len(want), gauge)
		}
	})
}
