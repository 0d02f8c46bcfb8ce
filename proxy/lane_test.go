package proxy

import (
	"context"
	"errors"
	"net/netip"
	"pdns-distribute/powerdns/must"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("192.0.2.2")
)

// mustEnter demands a place at once.
func mustEnter(t *testing.T, l *lane, from netip.Addr) (leave func()) {
	t.Helper()
	leave, err := l.enter(t.Context(), from)
	must.OK(t, err)
	return leave
}

// Who waits gets a place in order, but nobody more than a share.
func TestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(laneBounds{laneSize: laneSize{3, 2}, waiting: 3, waitingShare: 2, patience: time.Minute})
		first, second := mustEnter(t, l, alice), mustEnter(t, l, alice)
		entered := make(chan string, 10)
		wait := func(name string, from netip.Addr) {
			go func() {
				leave, err := l.enter(t.Context(), from)
				if err != nil {
					name += ": " + err.Error()
				} else {
					defer leave()
				}
				entered <- name
			}()
			synctest.Wait()
		}
		wait("a3", alice)
		third := mustEnter(t, l, bob) // passes who has its share
		wait("a4", alice)
		if _, err := l.enter(t.Context(), alice); !errors.Is(err, errCrowded) {
			t.Errorf("a third one of alice waits: %v", err)
		}
		wait("b2", bob)
		if _, err := l.enter(t.Context(), bob); !errors.Is(err, errCrowded) {
			t.Errorf("a fourth one waits: %v", err)
		}
		for _, leave := range []func(){third, first, second} {
			leave()
			synctest.Wait()
		}
		for _, want := range []string{"b2", "a3", "a4"} {
			if got := <-entered; got != want {
				t.Errorf("%s has a place, want %s", got, want)
			}
		}
		if l.working != 0 || len(l.of) != 0 || l.queue.Len() != 0 {
			t.Errorf("%d work, %d are known, %d wait", l.working, len(l.of), l.queue.Len())
		}
	})
}

// Who does not get a place in time, or leaves, has none.
func TestLaneIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(laneBounds{laneSize: laneSize{1, 1}, waiting: 3, waitingShare: 3, patience: time.Minute})
		leave := mustEnter(t, l, alice)
		if _, err := l.enter(t.Context(), bob); !errors.Is(err, errNoPlace) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.enter(ctx, bob); !errors.Is(err, errNoPlace) {
			t.Error(err)
		}
		leave()
		mustEnter(t, l, bob)()
		if len(l.of) != 0 {
			t.Errorf("%d are known", len(l.of))
		}
	})
}

func TestLaneUnderLoad(t *testing.T) {
	l := newLane(laneBounds{laneSize: laneSize{4, 3}, waiting: 1000, waitingShare: 1000, patience: patience})
	var at, most atomic.Int32
	var all sync.WaitGroup
	for n := range 400 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n%7+1)*time.Millisecond)
			defer cancel()
			leave, err := l.enter(ctx, []netip.Addr{alice, bob}[n%2])
			if err != nil {
				return
			}
			if now := at.Add(1); now > most.Load() {
				most.Store(now)
			}
			at.Add(-1)
			leave()
		})
	}
	all.Wait()
	if most.Load() > 4 || l.working != 0 || len(l.of) != 0 || l.queue.Len() != 0 {
		t.Errorf("%d at once; %d work, %d are known, %d wait", most.Load(), l.working, len(l.of), l.queue.Len())
	}
}

// The lanes together are what PowerDNS may have, and each has something.
func TestLanesShareOut(t *testing.T) {
	for n := minUpstream; n < 200; n++ {
		l, sum := newLanes(n, time.Second), 0
		for _, l := range []*lane{l.keyed, l.keys, l.keysAgain, l.pages} {
			sum += l.size
			if l.size < 1 || l.share < 1 {
				t.Errorf("of %d a lane has %d, and a share of %d", n, l.size, l.share)
			}
		}
		if sum != n {
			t.Errorf("of %d the lanes have %d", n, sum)
		}
	}
}
