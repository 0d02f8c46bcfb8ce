package proxy

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

// A pending change has no place while its touch waits here. Asked for later, at whatever proxy, it has that of a touch
// that is newer than the change, and the same one each time.
func TestPlaceOfAPendingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d, other := running(t, q), running(t, q)
		synctest.Wait()
		q.setAway(true)
		c := change{zone: example.Zone, at: time.Now()}
		d.store(t.Context(), example, true, time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, p := range []*pendingTouches{d, other} {
			if touch, stored := p.place(ctx, c); stored {
				t.Errorf("it has place %d while the broker is down", touch)
			}
		}
		q.setAway(false)
		before := q.stored.Load()
		for _, p := range []*pendingTouches{d, other} {
			touch, stored := p.place(t.Context(), c)
			if !stored || touch <= before || touch != q.stored.Load() {
				t.Errorf("place %d (%v) after %d", touch, stored, before)
			}
			if again, _ := p.place(t.Context(), c); again != touch || q.stored.Load() != touch {
				t.Errorf("then place %d instead of %d", again, touch)
			}
			before = touch
		}
		c.at = c.at.Add(time.Microsecond)
		if touch, stored := d.place(t.Context(), c); !stored || touch <= before {
			t.Errorf("another change has place %d (%v)", touch, stored)
		}
	})
}

// Places are forgotten when they are too many.
func TestPlacesAreBounded(t *testing.T) {
	d := newPendingTouches(&queue{}, newJournal(t), zerolog.Nop(), func(float64) {})
	for n := range maxPlaced + 10 {
		d.placed.note(change{zone: example.Zone, at: time.UnixMicro(int64(n))}, 1)
	}
	if len(d.placed) > maxPlaced {
		t.Errorf("%d places", len(d.placed))
	}
}
