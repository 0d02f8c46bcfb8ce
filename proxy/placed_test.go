package proxy

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// A pending change has a place once its touch is stored, and none before, nor at another proxy.
func TestPlaceOfAPendingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d := running(t, q)
		other := running(t, &queue{})
		synctest.Wait()
		q.setAway(true)
		c := change{zone: example.Zone, at: time.Now()}
		d.store(t.Context(), example, true, time.Second)
		if _, stored := d.place(c); stored {
			t.Error("it has a place while it waits")
		}
		q.setAway(false)
		touch, stored := d.awaitPlace(t.Context(), c)
		if !stored || touch != q.stored.Load() {
			t.Errorf("place %d (%v), want %d", touch, stored, q.stored.Load())
		}
		if _, stored := other.awaitPlace(t.Context(), c); stored {
			t.Error("a proxy that did not queue it knows its place")
		}
		time.Sleep(time.Second)
		later := change{zone: example.Zone, at: time.Now()}
		if _, stored := d.place(later); stored {
			t.Error("a change of after the touch has its place")
		}
	})
}

// A change whose touch waits, and is stored with that of a later one, has the place of that.
func TestPlaceWithALaterChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{away: true}
		d := newPendingTouches(q, newJournal(t), zerolog.Nop(), func(float64) {})
		c := change{zone: example.Zone, at: time.Now()}
		d.store(t.Context(), example, true, time.Second)
		time.Sleep(time.Second)
		q.setAway(false)
		want, _ := d.store(t.Context(), example, true, time.Second)
		if touch, stored := d.place(c); !stored || touch != want {
			t.Errorf("place %d (%v), want %d", touch, stored, want)
		}
	})
}

// Places are forgotten when they are too many, and then nothing is said of them.
func TestPlacesAreBounded(t *testing.T) {
	d := newPendingTouches(&queue{}, newJournal(t), zerolog.Nop(), func(float64) {})
	for range maxPlaced + 1 {
		d.notePlace(zone.Name("\x01a\x00"), 1)
	}
	if len(d.placed) != 1 {
		t.Errorf("%d places of one zone", len(d.placed))
	}
	for n := range maxPlaced + 10 {
		d.notePlace(zone.Name([]byte{3, byte(n >> 16), byte(n >> 8), byte(n), 0}), 1)
	}
	if len(d.placed) > maxPlaced {
		t.Errorf("%d places", len(d.placed))
	}
}
