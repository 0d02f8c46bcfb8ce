package proxy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
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

// However many changes of a zone are made up, it is touched once in a while for all of them, each after it was asked
// for; who leaves takes no turn from others.
func TestManyPendingChangesOfAZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		d := running(t, q)
		synctest.Wait()
		q.take()
		const seconds = 10
		stop, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
		defer cancel()
		var clients sync.WaitGroup
		defer clients.Wait()
		for client := range 20 {
			clients.Go(func() {
				for n := 0; stop.Err() == nil; n++ {
					ctx, leave := context.WithTimeout(t.Context(), time.Duration(n%3)*retryMin)
					d.place(ctx, change{zone: example.Zone, at: time.UnixMicro(int64(client*1_000_000 + n))})
					leave()
					time.Sleep(time.Millisecond)
				}
			})
		}
		for n := range seconds / 2 {
			before := q.stored.Load()
			touch, stored := d.place(t.Context(), change{zone: example.Zone, at: time.Unix(int64(n), 0)})
			if !stored || touch <= before {
				t.Errorf("place %d (%v) after %d", touch, stored, before)
			}
		}
		<-stop.Done()
		if touches := q.take(); len(touches) > seconds+1 {
			t.Errorf("%d touches in %d s", len(touches), seconds)
		}
	})
}

// A pending change of a zone that PowerDNS does not have, and that never was published, is made up: nothing is touched.
// One of a zone that was deleted has its place, and only for a key that covers the zone.
func TestMadeUpChangesTouchNothing(t *testing.T) {
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	reader, secret := newKey(Key{ID: "reader", Zones: []string{"*.example"}, Verbs: []string{"read"}})
	k := startKeyed(t, upstream.URL, func() (string, error) { return "own", nil }, nil, reader)
	deleted := zone.MustParseName("deleted.example")
	k.tracker.Ask = func(name zone.Name) error {
		notice := health.Settled{Zone: name, Gone: true}
		if name == deleted {
			notice.Published = published
		}
		k.tracker.Settled(notice)
		return nil
	}
	for name, touches := range map[string][]string{
		"never.example.": nil, "deleted.foreign.": nil, "deleted.example.": {"change deleted.example."},
	} {
		k.ask(t, secret, "GET", apiPath+"/changes/0-1-"+name, "")
		k.queue.want(t, touches...)
	}
}

// Places are forgotten when they are too many.
func TestPlacesAreBounded(t *testing.T) {
	d := newPendingTouches(&queue{}, newJournal(t), zerolog.Nop(), func(float64) {})
	for n := range maxPlaced + 10 {
		d.want(change{zone: example.Zone, at: time.UnixMicro(int64(n))})
	}
	if n := len(d.placed.zones[example.Zone].places); n > maxPlaced || n != d.placed.count {
		t.Errorf("%d places, counted as %d", n, d.placed.count)
	}
}
