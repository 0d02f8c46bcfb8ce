package roles

import (
	"context"
	"sync"

	"pdns-distribute/powerdns/zone"
)

// lanes runs jobs, many zones at a time but never two of one zone: a lane per zone. Jobs that wait in one lane are
// merged into one. Live jobs go before background ones, and of two workers or more background ones never take all.
type lanes[J any] struct {
	workers int
	limit   int // lanes that may wait before submit blocks
	work    func(context.Context, zone.Name, J)
	merge   func(waiting, newer J) J // makes one job of two; called under the lock
	abandon func(J)                  // told of jobs that wait when run ends; may be nil

	mu         sync.Mutex
	changed    *sync.Cond
	lanes      map[zone.Name]*lane[J]
	live       []zone.Name // lanes with a waiting job that is not running, in order
	background []zone.Name
	slow       int // background jobs that run
	closed     bool
}

type lane[J any] struct {
	running bool
	waiting bool
	live    bool // of the waiting job
	job     J
}

func newLanes[J any](workers, limit int, work func(context.Context, zone.Name, J), merge func(waiting, newer J) J) *lanes[J] {
	l := &lanes[J]{workers: workers, limit: limit, work: work, merge: merge, lanes: map[zone.Name]*lane[J]{}}
	l.changed = sync.NewCond(&l.mu)
	return l
}

// submit puts a job into its zone's lane. It blocks while too many lanes wait, and returns false once run has ended or
// ctx has.
func (l *lanes[J]) submit(ctx context.Context, name zone.Name, job J, live bool) bool {
	stop := context.AfterFunc(ctx, l.wakeAll)
	defer stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.full(live) && l.lanes[name] == nil {
		if l.closed || ctx.Err() != nil {
			return false
		}
		l.changed.Wait()
	}
	if l.closed || ctx.Err() != nil {
		return false
	}
	l.place(name, job, live)
	l.changed.Broadcast()
	return true
}

// full counts each class by itself: a sweep must not keep live jobs out.
func (l *lanes[J]) full(live bool) bool {
	if live {
		return len(l.live) >= l.limit
	}
	return len(l.background) >= l.limit
}

func (l *lanes[J]) place(name zone.Name, job J, live bool) {
	n := l.lanes[name]
	if n == nil {
		n = &lane[J]{}
		l.lanes[name] = n
	}
	if n.waiting {
		job = l.merge(n.job, job)
	}
	raised := live && !n.live
	if !n.running && (!n.waiting || raised) {
		l.enqueue(name, live)
	}
	n.job, n.live, n.waiting = job, live || n.waiting && n.live, true
}

// enqueue makes the lane ready. A lane raised from background to live stands in both queues; next skips the stale entry.
func (l *lanes[J]) enqueue(name zone.Name, live bool) {
	if live {
		l.live = append(l.live, name)
	} else {
		l.background = append(l.background, name)
	}
}

// idle tells whether no background job waits or runs at this moment.
func (l *lanes[J]) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.background) == 0 && l.slow == 0
}

// busy tells whether a job of the zone runs at this moment.
func (l *lanes[J]) busy(name zone.Name) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lanes[name]
	return n != nil && n.running
}

func (l *lanes[J]) wakeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// run works until ctx ends and returns when the last job has. Jobs that still wait are abandoned.
func (l *lanes[J]) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.closed = true
		l.changed.Broadcast()
	})
	defer stop()
	var wg sync.WaitGroup
	for range l.workers {
		wg.Go(func() {
			for {
				name, job, live, ok := l.next()
				if !ok {
					return
				}
				l.work(ctx, name, job)
				l.done(name, live)
			}
		})
	}
	wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.lanes {
		if n.waiting && l.abandon != nil {
			l.abandon(n.job)
		}
	}
	return nil
}

// next waits for a job and takes it; false once run ends.
func (l *lanes[J]) next() (zone.Name, J, bool, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed {
		if name, ok := l.pop(); ok {
			n := l.lanes[name]
			n.running, n.waiting = true, false
			if !n.live {
				l.slow++
			}
			job := n.job
			var none J
			n.job = none
			l.changed.Broadcast() // submit may go on
			return name, job, n.live, true
		}
		l.changed.Wait()
	}
	var none J
	return "", none, false, false
}

func (l *lanes[J]) pop() (zone.Name, bool) {
	for _, queue := range []*[]zone.Name{&l.live, &l.background} {
		if queue == &l.background && l.slow >= max(1, l.workers/2) {
			return "", false
		}
		for len(*queue) > 0 {
			name := (*queue)[0]
			*queue = (*queue)[1:]
			if n := l.lanes[name]; n != nil && n.waiting && !n.running {
				return name, true
			}
		}
	}
	return "", false
}

func (l *lanes[J]) done(name zone.Name, live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.lanes[name]
	n.running = false
	if !live {
		l.slow--
	}
	if n.waiting {
		l.enqueue(name, n.live)
	} else {
		delete(l.lanes, name)
	}
	l.changed.Broadcast()
}
