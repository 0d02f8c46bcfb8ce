package work

import (
	"context"
	"sync"
	"time"

	"pdns-distribute/powerdns/zone"
)

// Priority says which jobs go first.
type Priority int

const (
	Background Priority = iota // nobody waits for it
	Creation                   // somebody made a zone that is served nowhere yet, and may wait for it
	Live                       // somebody changed a zone that is served, and may wait for it

	priorities = iota
)

func (p Priority) String() string {
	return [priorities]string{"background", "creation", "live"}[p]
}

// Priorities are all of them.
func Priorities() []Priority { return []Priority{Background, Creation, Live} }

// creationPatience is how long creations stand back behind live jobs. Those that wait for longer take turns with them.
const creationPatience = time.Second

// Queue runs jobs, many zones at a time but never two of one zone: it is keyed by zone. Jobs that wait for one zone
// are merged into one. Live jobs go first, background ones last, and of two workers or more neither creations nor
// background jobs ever take all. It is safe for concurrent use.
type Queue[J any] struct {
	workers int
	limit   int // zones of a priority that may wait before Submit blocks
	work    func(context.Context, zone.Name, J)
	merge   func(waiting, newer J) J // makes one job of two; called under mu
	abandon func(zone.Name, J)       // gets the jobs that wait when Run ends

	// Under mu.
	mu      sync.Mutex
	changed *sync.Cond
	zones   map[zone.Name]*entry[J]
	ready   [priorities][]zone.Name // zones with a waiting job, none of which runs, in order
	running [priorities]int         // jobs, but for those that rest
	last    Priority                // of the job that was begun last
	closed  bool

	wg   sync.WaitGroup // of workers
	lent lent           // under mu
}

// lent counts what comes of [Queue.Rest].
type lent struct {
	resting  int // jobs
	resuming int // of them, those that wait for a worker
	surplus  int // workers that are to end
}

// entry is a zone with a job.
type entry[J any] struct {
	running  bool
	waiting  bool
	priority Priority      // of the waiting job, and then of the running one
	begun    Priority      // of the running job
	raised   chan struct{} // closed when a job that goes first waits for the running one; nil if nobody asks
	since    time.Time     // when it was made ready
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
func (q *Queue[J]) full(priority Priority) bool { return len(q.ready[priority]) >= q.limit }

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
		q.enqueue(name, e, priority)
	}
	if e.running && e.raised != nil && priority > e.begun {
		close(e.raised)
		e.raised = nil
	}
	e.job, e.priority, e.waiting = job, priority, true
}

// enqueue makes the zone ready. One that was raised stands in two lists; first drops the stale entry.
func (q *Queue[J]) enqueue(name zone.Name, e *entry[J], priority Priority) {
	q.ready[priority] = append(q.ready[priority], name)
	e.since = time.Now()
}

// Idle reports whether no background job waits, runs or rests.
func (q *Queue[J]) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready[Background]) == 0 && q.running[Background] == 0 && q.lent.resting == 0
}

// Waiting returns how many background jobs wait.
func (q *Queue[J]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready[Background])
}

// Jobs returns how many jobs of the priority wait and run. One that was raised may count twice.
func (q *Queue[J]) Jobs(p Priority) (waiting, running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.ready[p]), q.running[p]
}

// Resting returns how many jobs rest.
func (q *Queue[J]) Resting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lent.resting
}

// Postponed reports whether a job of the zone waits behind all that somebody waits for.
func (q *Queue[J]) Postponed(name zone.Name) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.zones[name]
	return e != nil && e.waiting && e.priority == Background
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
	for range q.workers {
		q.wg.Go(func() { q.runWorker(ctx) })
	}
	q.wg.Wait()
	q.abandonAll()
	return nil
}

// Rest lends the worker of the zone's running job to others, as long as the job only waits for something. The job calls
// it, and then resume, which returns when it is the job's turn again: before other jobs of its priority are begun.
// raised is closed when another job of the zone comes that must not wait so long. No background jobs are begun while
// twice as many rest as may wait.
func (q *Queue[J]) Rest(ctx context.Context, name zone.Name) (raised <-chan struct{}, resume func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, ch := q.zones[name], make(chan struct{})
	priority := e.begun
	if e.waiting && e.priority > priority {
		close(ch)
	} else {
		e.raised = ch
	}
	q.running[priority]--
	q.lent.resting++
	q.wg.Go(func() { q.runWorker(ctx) })
	q.changed.Broadcast()
	return ch, func() { q.resume(priority) }
}

func (q *Queue[J]) resume(priority Priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lent.resuming++
	for !q.closed && q.running[priority] >= q.most(priority) {
		q.changed.Wait()
	}
	q.lent.resuming--
	q.lent.resting--
	q.running[priority]++
	q.lent.surplus++
	q.changed.Broadcast()
}

func (q *Queue[J]) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.lent.surplus = false, 0
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
	q.zones, q.ready = map[zone.Name]*entry[J]{}, [priorities][]zone.Name{}
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
		if q.lent.surplus > 0 {
			q.lent.surplus--
			return name, job, priority, false
		}
		if name, ok = q.pop(); ok {
			e := q.zones[name]
			e.running, e.waiting, e.begun, e.raised = true, false, e.priority, nil
			q.running[e.priority]++
			q.last = e.priority
			var none J
			job, e.job = e.job, none
			q.changed.Broadcast() // Submit may go on
			return name, job, e.priority, true
		}
		q.changed.Wait()
	}
	return name, job, priority, false
}

func (q *Queue[J]) pop() (name zone.Name, ok bool) {
	order := [...]Priority{Live, Creation, Background}
	if q.last == Live && q.overdue(Creation) {
		order = [...]Priority{Creation, Live, Background}
	}
	for _, priority := range order {
		if q.running[priority] >= q.most(priority) || priority == Background && q.lentOut() {
			continue
		}
		if name, ok = q.first(priority); ok {
			q.ready[priority] = q.ready[priority][1:]
			return name, true
		}
	}
	return "", false
}

// lentOut reports whether jobs that rest, or rested, come before other background jobs. What rests waits in memory,
// too.
func (q *Queue[J]) lentOut() bool { return q.lent.resuming > 0 || q.lent.resting >= 2*q.limit }

// most is how many jobs of the priority may run: some workers are kept for what must not wait.
func (q *Queue[J]) most(priority Priority) int {
	switch priority {
	case Background:
		return max(1, q.workers-max(2, q.workers/4))
	case Creation:
		return max(1, q.workers-1)
	}
	return q.workers
}

func (q *Queue[J]) overdue(priority Priority) bool {
	name, ok := q.first(priority)
	return ok && time.Since(q.zones[name].since) > creationPatience
}

// first is the zone of the priority that has waited longest. Stale entries before it are dropped.
func (q *Queue[J]) first(priority Priority) (zone.Name, bool) {
	for len(q.ready[priority]) > 0 {
		name := q.ready[priority][0]
		if e := q.zones[name]; e != nil && e.waiting && !e.running && e.priority == priority {
			return name, true
		}
		q.ready[priority] = q.ready[priority][1:]
	}
	return "", false
}

func (q *Queue[J]) done(name zone.Name, priority Priority) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.zones[name]
	e.running = false
	q.running[priority]--
	if e.waiting {
		q.enqueue(name, e, e.priority)
	} else {
		delete(q.zones, name)
	}
	q.changed.Broadcast()
}
