package proxy

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// lane is a number of places for requests to PowerDNS. Who finds none waits in order, but that nobody holds more than a
// share of them: whose share is taken lets others pass. It is safe for concurrent use.
type lane struct {
	mu sync.Mutex

	// Under mu:
	laneBounds
	working int
	of      map[netip.Addr]*tally
	queue   list.List // of *waiter
}

// laneBounds are all above zero. Only the size is ever changed.
type laneBounds struct {
	laneSize
	waiting, waitingShare int           // waiting for a place: in all, and of one source
	patience              time.Duration // for which one waits
}

// laneSize is how many may be at work, in all, and for one source.
type laneSize struct{ size, share int }

type tally struct{ working, waiting int }

type waiter struct {
	from netip.Addr
	at   *list.Element // nil once it has a place
	turn chan struct{} // closed then
}

var (
	// errCrowded: as many wait as may. errNoPlace: there was none in time. Nothing reached PowerDNS in either case.
	errCrowded = errors.New("too many requests wait for PowerDNS")
	errNoPlace = errors.New("PowerDNS is busy with other requests")
)

func newLane(b laneBounds) *lane { return &lane{laneBounds: b, of: map[netip.Addr]*tally{}} }

// enter returns when there is a place; leave gives it back and must be called once.
func (l *lane) enter(ctx context.Context, from netip.Addr) (leave func(), err error) {
	leave = func() { l.leave(from) }
	w, err := l.line(from)
	if w == nil {
		return leave, err
	}
	late := time.NewTimer(l.patience)
	defer late.Stop()
	select {
	case <-w.turn:
		return leave, nil
	case <-ctx.Done():
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			err = errNoPlace
		}
	case <-late.C:
		err = errNoPlace
	}
	if l.giveUp(w) {
		return nil, err
	}
	return leave, nil
}

// line takes a place at once, or begins to wait.
func (l *lane) line(from netip.Addr) (*waiter, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of[from]
	if t == nil {
		t = &tally{}
		l.of[from] = t
	}
	if l.working < l.size && t.working < l.share { // who waits is kept by its own share
		l.working++
		t.working++
		return nil, nil
	}
	if l.queue.Len() >= l.waiting || t.waiting >= l.waitingShare {
		l.forget(from, t)
		return nil, errCrowded
	}
	w := &waiter{from: from, turn: make(chan struct{})}
	t.waiting++
	w.at = l.queue.PushBack(w)
	return w, nil
}

// giveUp ends the waiting; false when there is a place after all.
func (l *lane) giveUp(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.at == nil {
		return false
	}
	l.queue.Remove(w.at)
	t := l.of[w.from]
	t.waiting--
	l.forget(w.from, t)
	return true
}

// leave hands the place to the first who may have it.
func (l *lane) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of[from]
	t.working--
	l.working--
	l.forget(from, t)
	l.fill()
}

// resize counts from now on; who is at work stays.
func (l *lane) resize(size laneSize) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.laneSize = size
	l.fill()
}

// fill gives free places to who waits and may have one, in order; called under mu.
func (l *lane) fill() {
	for e := l.queue.Front(); e != nil && l.working < l.size; {
		w := e.Value.(*waiter)
		e = e.Next()
		if t := l.of[w.from]; t.working < l.share {
			l.queue.Remove(w.at)
			w.at = nil
			t.waiting--
			t.working++
			l.working++
			close(w.turn)
		}
	}
}

func (l *lane) forget(from netip.Addr, t *tally) {
	if *t == (tally{}) {
		delete(l.of, from)
	}
}

type ticketKey struct{}

// ticket is a request's right to wait for a place of a lane.
type ticket struct {
	lane   *lane
	from   netip.Addr
	client context.Context // whose end ends the waiting
}

// ticket has RoundTrip wait for a place first, as long as the request's context stands now.
func (l *lane) ticket(r *http.Request, from netip.Addr) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), ticketKey{}, ticket{l, from, r.Context()}))
}

// enterLane takes the place that the request has a ticket for; without one there is nothing to wait for.
func enterLane(ctx context.Context) (leave func(), err error) {
	t, has := ctx.Value(ticketKey{}).(ticket)
	if !has {
		return func() {}, nil
	}
	return t.lane.enter(t.client, t.from)
}
