package work

import (
	"context"
	"sync"

	"pdns-distribute/powerdns/zone"
)

// Priority says which jobs go first.
type Priority int

const (
	Background Priority = iota // nobody waits for it
	Live                       // somebody made a change and may wait for it
)

// Queue runs jobs, many zones at a time but never two of one zone: it is keyed by zone. Jobs that wait for one zone
// are merged into one. Live jobs go before background ones, and of two workers or more background ones never take
// all. It is safe for concurrent use.
type Queue[J any] struct {
	workers int
	limit   int // zones of a priority that may wait before Submit blocks
	work    func(context.Context, zone.Name, J)
	merge   func(waiting, newer J) J // makes one job of two; called under mu
	abandon func(zone.Name, J)       // gets the jobs that wait when Run ends

	// Under mu.
	mu         sync.Mutex
	changed    *sync.Cond
	zones      map[zone.Name]*entry[J]
	live       []zone.Name // zones with a waiting job, none of which runs, in order
	background []zone.Name
	slow       int // background jobs that run
	closed     bool
}

// entry is a zone with a job.
type entry[J any] struct {
	running  bool
	waiting  bool
	priority Priority // of the waiting job, and then of the running one
	job      J
}

// NewQueue returns a queue in which limit zones of each priority may wait.
func NewQueue[J any](
	workers, limit int, work func(context.Context, zone.Name, J),
	merge func(waiting, newer J) J, abandon func(zone.Name, J),
) *Queue[J] {
	q := &Queue[J]{
		workers: workers, limit: limit, work: work, merge: merge, abandon: abandon, zones: map[zone.Name]*entry[J]{},
	}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Submit adds a job of the zone. It blocks while too many zones wait, and returns false once Run has ended or ctx has.
func (q *Queue[J]) Submit(ctx context.Context, name zone.Name, job J, priority Priority) bool {
	stop := context.AfterFunc(ctx, q.wakeAll)
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.full(priority) && q.zones[name] == nil {
		if q.closed || ctx.Err() != nil {
			return false
		}
		q.changed.Wait()
	}
	if q.closed || ctx.Err() != nil {
		return false
	}
	q.place(name, job, priority)
	q.changed.Broadcast()
	return true
}

// full counts each priority by itself: a sweep must not keep live jobs out.
func (q *Queue[J]) full(priority Priority) bool { return len(*q.ready(priority)) >= q.limit }

// ready are the zones of the priority that are ready to run.
func (q *Queue[J]) ready(priority Priority) *[]zone.Name {
	if priority == Live {
		return &q.live
	}
	return &q.background
}

func (q *Queue[J]) place(name zone.Name, job J, priority Priority) {
	e := q.zones[name]
	if e == nil {
		e = &entry[J]{}
		q.zones[name] = e
	}
	raised := priority > e.priority
	if e.waiting {
		job, priority = q.merge(e.job, job), max(priority, e.priority)
	}
	if !e.running && (!e.waiting || raised) {
		q.enqueue(name, priority)
	}
	e.job, e.priority, e.waiting = job, priority, true
}

// enqueue makes the zone ready. One raised from background to live stands in both lists; next skips the stale entry.
func (q *Queue[J]) enqueue(name zone.Name, priority Priority) {
	list := q.ready(priority)
	*list = append(*list, name)
}

// Idle reports whether no background job waits or runs.
func (q *Queue[J]) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.background) == 0 && q.slow == 0
}

// Busy reports whether a job of the zone runs.
func (q *Queue[J]) Busy(name zone.Name) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.zones[name]
	return e != nil && e.running
}

// Has reports whether a job of the zone waits or runs.
func (q *Queue[J]) Has(name zone.Name) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.zones[name] != nil
}

func (q *Queue[J]) wakeAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.changed.Broadcast()
}

// Run works until ctx ends and returns nil when the last job has. Jobs that still wait are abandoned. It may be called
// again.
func (q *Queue[J]) Run(ctx context.Context) error {
	q.open()
	stop := context.AfterFunc(ctx, q.close)
	defer stop()
	var wg sync.WaitGroup
	for range q.workers {
		wg.Go(func() { q.runWorker(ctx) })
	}
	wg.Wait()
	q.abandonAll()
	return nil
}

func (q *Queue[J]) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = false
}

func (q *Queue[J]) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.changed.Broadcast()
}

func (q *Queue[J]) abandonAll() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, e := range q.zones {
		if e.waiting {
			q.abandon(name, e.job)
		}
	}
	q.zones, q.live, q.background = map[zone.Name]*entry[J]{}, nil, nil
}

func (q *Queue[J]) runWorker(ctx context.Context) {
	for {
		name, job, priority, ok := q.next()
		if !ok {
			return
		}
		q.work(ctx, name, job)
		q.done(name, priority)
	}
}

// next waits for a job and takes it; false once Run ends.
func (q *Queue[J]) next() (name zone.Name, job J, priority Priority, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for !q.closed {
		if name, ok = q.pop(); ok {
			e := q.zones[name]
			e.running, e.waiting = true, false
			if e.priority == Background {
				q.slow++
			}
			var none J
			job, e.job = e.job, none
			q.changed.Broadcast() // Submit may go on
			return name, job, e.priority, true
		}
		q.changed.Wait()
	}
	return name, job, priority, false
}

func (q *Queue[J]) pop() (zone.Name, bool) {
	if name, ok := q.popOf(Live); ok {
		return name, true
	}
	if q.slow >= max(1, q.workers/2) {
		return "", false
	}
	return q.popOf(Background)
}

func (q *Queue[J]) popOf(priority Priority) (zone.Name, bool) {
	list := q.ready(priority)
	for len(*list) > 0 {
		name := (*list)[0]
		*list = (*list)[1:]
		if e := q.zones[name]; e != nil && e.waiting && !e.running {
			return name, true
		}
	}
	return "", false
}

func (q *Queue[J]) done(name zone.Name, priority Priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.zones[name]
	e.running = false
	if priority == Background {
		q.slow--
	}
	if e.waiting {
		q.enqueue(name, e.priority)
	} else {
		delete(q.zones, name)
	}
	q.changed.Broadcast()
}
