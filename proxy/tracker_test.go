package proxy

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pdns-distribute/health"
	"pdns-distribute/powerdns/zone"
)

// world tells a tracker what nodes would.
type world struct {
	*Tracker
	asked int
	away  atomic.Bool
}

const hearing = 10 * time.Second

func newWorld(secondaries ...string) *world {
	w := &world{}
	w.Tracker = NewTracker(TrackerOptions{
		Ask: func(zone.Name) error { w.asked++; return nil }, Connected: func() bool { return !w.away.Load() },
		InactiveAfter: 30 * time.Second, Discovery: hearing,
	})
	w.Resumed()
	time.Sleep(hearing)
	for _, id := range secondaries {
		w.Seen(id, time.Now())
	}
	return w
}

var published = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func settledAt(touch uint64, digest string) health.Settled {
	return health.Settled{Zone: example.Zone, Touch: touch, Digest: digest, Published: published}
}

func appliedAs(digest string) health.Applied {
	return health.Applied{Zone: example.Zone, Digest: digest, Published: published, At: time.Now()}
}

// wait awaits a touch in the background.
func (w *world) wait(t *testing.T, touch uint64, patience time.Duration) <-chan Progress {
	result := make(chan Progress, 1)
	watch := w.watch(example.Zone, true)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		p := watch.await(ctx, touch)
		watch.stop()
		result <- p
	}()
	synctest.Wait()
	return result
}

func still(t *testing.T, result <-chan Progress, what string) {
	t.Helper()
	synctest.Wait()
	select {
	case p := <-result:
		t.Fatalf("%s: did not wait any longer: %+v", what, p)
	default:
	}
}

func TestServedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1", "ns2")
		result := w.wait(t, 7, time.Hour)
		w.Applied("ns1", appliedAs("old"))
		w.Applied("ns2", appliedAs("old"))
		still(t, result, "the primary has told nothing")
		w.Settled(settledAt(6, "old"))
		still(t, result, "an older touch is done with")
		w.Settled(health.Settled{Zone: example.Zone, Touch: 9, Pending: true, Digest: "old"})
		still(t, result, "a touch is pending")
		w.Settled(settledAt(7, "new")) // others were stored behind it
		w.Settled(health.Settled{Zone: example.Zone, Touch: 12, Pending: true, Digest: "new"})
		still(t, result, "the secondaries serve something else")
		w.Applied("ns2", appliedAs("new"))
		still(t, result, "one of two")
		w.Applied("ns1", appliedAs("new"))
		if p := <-result; !p.InSync() || p.Served() != 2 || len(p.Missing()) != 0 {
			t.Errorf("%+v", p)
		}
		if len(w.watches) != 0 {
			t.Error("the zone is still watched")
		}
	})
}

func TestServedLaterVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1")
		result := w.wait(t, 7, time.Hour)
		w.Settled(settledAt(7, "new"))
		later := appliedAs("newer")
		later.Published = published.Add(time.Millisecond)
		w.Applied("ns1", later)
		if p := <-result; !p.InSync() {
			t.Errorf("%+v", p)
		}
	})
}

func TestDeletionEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1")
		result := w.wait(t, 7, time.Hour)
		w.Settled(health.Settled{Zone: example.Zone, Touch: 7, Gone: true, Published: published})
		w.Applied("ns1", health.Applied{Zone: example.Zone, Gone: true})
		still(t, result, "there is none, and the tombstone may not be there yet")
		w.Applied("ns1", health.Applied{Zone: example.Zone, Gone: true, Published: published.Add(-time.Minute)})
		still(t, result, "it was gone before it was made again")
		w.Applied("ns1", appliedAs(""))
		still(t, result, "it is there")
		w.Applied("ns1", health.Applied{Zone: example.Zone, Gone: true, Published: published})
		if p := <-result; !p.InSync() {
			t.Errorf("%+v", p)
		}
	})
}

func TestTimeIsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1", "ns2", "ns3")
		begin := time.Now()
		result := w.wait(t, 7, 10*time.Second)
		w.Settled(settledAt(7, "new"))
		w.Applied("ns2", appliedAs("new"))
		p := <-result
		if p.InSync() || p.Served() != 1 || !slices.Equal(p.Missing(), []string{"ns1", "ns3"}) || time.Since(begin) != 10*time.Second {
			t.Errorf("%+v after %s", p, time.Since(begin))
		}
		if w.asked < 4 || w.asked > 12 {
			t.Errorf("asked %d times in ten seconds", w.asked)
		}
	})
}

// Who falls silent is not waited for any more; nobody being there is not being served.
func TestInactiveSecondaries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1", "ns2")
		result := w.wait(t, 7, time.Hour)
		w.Settled(settledAt(7, "new"))
		w.Applied("ns1", appliedAs("new"))
		time.Sleep(20 * time.Second)
		w.Seen("ns1", time.Now())
		w.Seen("ns1", time.Now().Add(-time.Hour)) // a late word takes nothing back
		still(t, result, "ns2 may only be slow")
		time.Sleep(11 * time.Second)
		if p := <-result; !p.InSync() || len(p.Secondaries) != 1 {
			t.Errorf("%+v", p)
		}

		time.Sleep(time.Hour)
		result = w.wait(t, 8, time.Minute)
		w.Settled(settledAt(8, "new"))
		if p := <-result; p.InSync() || len(p.Secondaries) != 0 {
			t.Errorf("nobody is there, and yet %+v", p)
		}
	})
}

func TestThousandWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1", "ns2")
		var wg sync.WaitGroup
		for n := range 1000 {
			name := zone.MustParseName(fmt.Sprintf("z%d.example", n%500))
			watch := w.watch(name, true)
			wg.Go(func() {
				defer watch.stop()
				if p := watch.await(t.Context(), uint64(n)); !p.InSync() {
					t.Errorf("%s: %+v", name, p)
				}
			})
		}
		for n := range 500 {
			name := zone.MustParseName(fmt.Sprintf("z%d.example", n))
			w.Settled(health.Settled{Zone: name, Touch: 1000, Digest: "new"})
			for _, id := range []string{"ns1", "ns2"} {
				w.Applied(id, health.Applied{Zone: name, Digest: "new"})
			}
		}
		wg.Wait()
		if len(w.watches) != 0 {
			t.Errorf("%d zones are still watched", len(w.watches))
		}
	})
}

// Who has taken a state anew says so once; an answer that knows less takes nothing back.
func TestTakenAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1")
		result := make(chan Progress, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() {
			touch := uint64(6)
			p, _ := w.Follow(ctx, example.Zone, func(context.Context) (uint64, error) { touch++; return touch, nil })
			result <- p
		}()
		synctest.Wait()
		before, anew := appliedAs("same"), appliedAs("same")
		before.Published = published.Add(-time.Hour)
		anew.Published, anew.Repaired = published, true
		w.Applied("ns1", before)
		w.Settled(settledAt(6, "same"))
		still(t, result, "the touch is not done with")
		w.Applied("ns1", anew)
		w.Applied("ns1", before)
		anew.Repaired = false
		w.Applied("ns1", anew)
		w.Settled(settledAt(7, "same")) // the touch was replaced by one that changed nothing
		still(t, result, "the state is not published anew")
		again := settledAt(8, "same")
		again.Again = true
		w.Settled(again)
		if p := <-result; !p.InSync() || !p.Secondaries[0].Applied.Repaired {
			t.Errorf("%+v", p)
		}
	})
}

// Who hears nothing knows nothing: neither that all is served, nor that somebody is gone.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1", "ns2")
		result := w.wait(t, 7, time.Hour)
		w.Settled(settledAt(7, "new"))
		w.Applied("ns1", appliedAs("new"))
		w.away.Store(true)
		time.Sleep(27 * time.Second)
		w.Seen("ns1", time.Now())
		time.Sleep(time.Minute)
		still(t, result, "ns2 was silent, and could not be heard")
		w.away.Store(false)
		w.Resumed()
		time.Sleep(2 * hearing)
		still(t, result, "ns2 may still come")
		w.Seen("ns1", time.Now())
		time.Sleep(11 * time.Second)
		if p := <-result; !p.InSync() || len(p.Secondaries) != 1 {
			t.Errorf("%+v", p)
		}

		fresh := newWorld()
		fresh.Resumed()
		fresh.Seen("ns1", time.Now())
		result = fresh.wait(t, 1, time.Hour)
		fresh.Settled(settledAt(1, "new"))
		fresh.Applied("ns1", appliedAs("new"))
		still(t, result, "others may not have been heard of yet")
		time.Sleep(hearing)
		fresh.Seen("ns1", time.Now())
		time.Sleep(2 * time.Second)
		if p := <-result; !p.InSync() {
			t.Errorf("%+v", p)
		}
	})
}

// What somebody else was told before is no answer to a new question.
func TestAnswersAreToTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld("ns1")
		other := w.watch(example.Zone, true)
		defer other.stop()
		w.Settled(settledAt(5, "old"))
		w.Applied("ns1", appliedAs("old"))
		answered := make(chan Progress, 1)
		go func() { answered <- w.Learn(t.Context(), example.Zone) }()
		still(t, answered, "nobody has answered")
		w.Settled(health.Settled{Zone: example.Zone, Touch: 9, Pending: true, Digest: "old"})
		w.Settled(settledAt(8, "old")) // of the touch before
		w.Applied("ns1", appliedAs("old"))
		if p := <-answered; p.InSync() {
			t.Errorf("a touch is pending, and yet %+v", p)
		}
	})
}

// A notice that leaves out touches of some proxies settles none of these, nor one of which nobody knows whose it is. It
// settles those of others.
func TestExceptedTouches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for what, c := range map[string]struct {
			own    bool
			except []string
			want   bool
		}{
			"own":                  {true, nil, true},
			"own, others left out": {true, []string{"proxy2", "proxy3"}, true},
			"own, left out":        {true, []string{"proxy1", "proxy2"}, false},
			"anybody's":            {false, nil, true},
			"perhaps left out":     {false, []string{"proxy2"}, false},
		} {
			w := newWorld("ns1")
			w.Node = "proxy1"
			watch := w.watch(example.Zone, c.own)
			s := settledAt(7, "aa")
			s.Except = c.except
			w.Settled(s)
			w.Applied("ns1", appliedAs("aa"))
			p, _ := watch.progress(7)
			if p.InSync() != c.want {
				t.Errorf("%s: %+v", what, p)
			}
			s.Touch, s.Except = 5, nil // the proxy's own touch, once its database is known to have no more
			w.Settled(s)
			if p, _ = watch.progress(5); !p.InSync() {
				t.Errorf("%s: it is never settled: %+v", what, p)
			}
			watch.stop()
		}
	})
}
