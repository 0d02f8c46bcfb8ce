package proxy

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"pdns-distribute/powerdns/zone"
)

// TouchStore stores touches where the primary finds them. When a call returns nil the touch survives a crash of
// everything but the broker's disk. After an error it may or may not have been stored, and storing it again does no
// harm. seq is the touch's place in the queue: higher is later. Its methods are safe for concurrent use.
type TouchStore interface {
	Touch(ctx context.Context, t Touch) (seq uint64, err error)
	Sweep(ctx context.Context) error
}

// pendingTouches are the touches that are not stored yet, one for each zone. Those whose answer went out are in the
// journal, too, so that they outlive this process. It is safe for concurrent use.
type pendingTouches struct {
	queue   TouchStore
	journal *journal
	log     zerolog.Logger
	gauge   func(float64)
	limit   int // of zones; what comes beyond becomes a request for a sweep

	stored func(zone.Name, uint64) // gets the place of each touch; nil: nobody asks. It is set before any is stored

	wake chan struct{}

	mu    sync.Mutex                 // guards what follows
	zones map[zone.Name]pendingTouch // the zero name stands for all: a sweep is to be asked for
	later []delayed                  // in the order of their time
	last  uint64

	placed placed
}

// maxPending is how many touches may be pending, in memory and in the journal: a client may write to any number of
// zones while the broker is down.
const maxPending = 500_000

// pendingTouch is a touch that is to be stored. A later one of the same zone has a higher number. One without a zone is
// a request for a sweep.
type pendingTouch struct {
	number uint64
	since  time.Time // when the first of its zone came that is pending
	Touch
}

// delayed is a touch of what PowerDNS does only after its answer.
type delayed struct {
	at time.Time
	Touch
}

// sweep stands for a touch of any zone.
var sweep = Touch{Cause: Changed}

// newPendingTouches returns what the journal has, and a request for a sweep: a process that was killed may have left
// more.
func newPendingTouches(queue TouchStore, j *journal, log zerolog.Logger, gauge func(float64)) *pendingTouches {
	p := &pendingTouches{
		queue: queue, journal: j, log: log, gauge: gauge, limit: maxPending,
		zones: map[zone.Name]pendingTouch{}, placed: placed{zones: map[zone.Name]*placedZone{}}, wake: make(chan struct{}, 1),
	}
	found, foreign := j.read()
	for _, t := range append(found, sweep) {
		p.add(t, true)
	}
	if foreign > 0 {
		log.Warn().Int("lines", foreign).Str("file", j.path).
			Msg("the journal of pending touches has unknown lines, asking for a sweep")
	}
	return p
}

// store stores the touch, for at most patience. It returns false when the touch becomes pending; then run stores it
// later. A touch without a zone asks for a sweep. isNews is false of a touch that adds nothing to a pending one.
func (p *pendingTouches) store(ctx context.Context, t Touch, isNews bool, patience time.Duration) (seq uint64, stored bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m := p.add(t, isNews)
	seq, err := p.put(ctx, m)
	if err == nil {
		return seq, true
	}
	p.log.Warn().Err(err).Stringer("zone", t.Zone).Msg("broker is down, the touch is pending until it is back")
	if err := p.journal.add(m.Touch); err != nil {
		p.log.Error().Err(err).Stringer("zone", t.Zone).
			Msg("the pending touch would not survive a crash of this process; is the disk of proxy.state_dir full?")
	}
	p.wakeUp()
	return 0, false
}

// insist stores a pending touch once more, as soon as the broker is back, for a caller that needs its place in the
// queue.
func (p *pendingTouches) insist(ctx context.Context, t Touch) (seq uint64, stored bool) {
	for {
		select {
		case <-ctx.Done():
			return 0, false
		case <-time.After(retryMin):
		}
		if seq, err := p.once(ctx, t); err == nil {
			return seq, true
		}
	}
}

// insistPatience is how long one attempt may take: an answer may have been lost.
const insistPatience = 2 * time.Second

func (p *pendingTouches) once(ctx context.Context, t Touch) (seq uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, insistPatience)
	defer cancel()
	return p.queue.Touch(ctx, t)
}

// put stores the touch and forgets it, unless a newer one of its zone is pending.
func (p *pendingTouches) put(ctx context.Context, m pendingTouch) (seq uint64, err error) {
	if m.Zone == "" {
		err = p.queue.Sweep(ctx)
	} else {
		seq, err = p.queue.Touch(ctx, m.Touch)
	}
	if err == nil {
		p.remove(m)
		if p.stored != nil {
			p.stored(m.Zone, seq)
		}
	}
	return seq, err
}

func (p *pendingTouches) add(t Touch, isNews bool) pendingTouch {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	if before, is := p.zones[t.Zone]; is {
		t = t.after(before.Touch, isNews)
	} else if len(p.zones) >= p.limit {
		t = sweep // looks at all of them
	}
	since := time.Now()
	if before, is := p.zones[t.Zone]; is {
		since = before.since
	}
	m := pendingTouch{p.last, since, t}
	p.zones[t.Zone] = m
	p.gauge(float64(p.count()))
	return m
}

// after returns the one touch that stands for before and t.
func (t Touch) after(before Touch, isNews bool) Touch {
	switch {
	case before.Cause == Deleted && !isNews:
		return before
	case t.Cause == Changed && t.Serial == nil:
		t.Serial = before.Serial // the zone was created and then changed
	}
	return t
}

// remove forgets the touch unless a newer one of its zone is pending. The journal ends with the last one.
func (p *pendingTouches) remove(m pendingTouch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.zones[m.Zone].number == m.number {
		delete(p.zones, m.Zone)
	}
	p.gauge(float64(p.count()))
	if len(p.zones) == 0 {
		if err := p.journal.clear(); err != nil {
			p.log.Warn().Err(err).
				Msg("journal of pending touches cannot be cleared, its zones are touched again at the next start")
		}
	}
}

// repeat makes the touch pending again after these times: PowerDNS does what it was asked only after its answer. A
// crash forgets that; the sweep at the next start finds what moved a serial.
func (p *pendingTouches) repeat(t Touch, now time.Time, after ...time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pause := range after {
		if len(p.later) < maxDelayed {
			p.later = append(p.later, delayed{now.Add(pause), t})
		}
	}
	slices.SortStableFunc(p.later, func(a, b delayed) int { return a.at.Compare(b.at) })
	p.wakeUp()
}

// maxDelayed bounds the touches that wait for their time.
const maxDelayed = 10_000

// due makes pending what has reached its time. It returns how long the next one has to wait, false when there is none.
func (p *pendingTouches) due(now time.Time) (time.Duration, bool) {
	for {
		p.mu.Lock()
		if len(p.later) == 0 {
			p.mu.Unlock()
			return 0, false
		}
		next := p.later[0]
		if next.at.After(now) {
			p.mu.Unlock()
			return next.at.Sub(now), true
		}
		p.later = p.later[1:]
		p.mu.Unlock()
		p.add(next.Touch, false)
	}
}

func (p *pendingTouches) is(name zone.Name, number uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.zones[name].number == number
}

// waiting returns the pending touches by zone, and the zones in the order in which they were touched.
func (p *pendingTouches) waiting() (names []zone.Name, touches map[zone.Name]pendingTouch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	touches = maps.Clone(p.zones)
	return slices.SortedFunc(maps.Keys(touches), func(a, b zone.Name) int { return cmp.Compare(touches[a].number, touches[b].number) }), touches
}

// has reports whether a touch of the zone is pending.
func (p *pendingTouches) has(name zone.Name) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, is := p.zones[name]
	return is
}

// Len returns how many zones have a pending touch.
func (p *pendingTouches) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count()
}

// oldest is how long the oldest has been pending, 0 if none is.
func (p *pendingTouches) oldest(now time.Time) (age time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, m := range p.zones {
		if name != "" {
			age = max(age, now.Sub(m.since))
		}
	}
	return age
}

func (p *pendingTouches) count() int {
	if _, sweep := p.zones[""]; sweep {
		return len(p.zones) - 1
	}
	return len(p.zones)
}

func (p *pendingTouches) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

const (
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
)

// run stores pending touches until ctx ends. It returns nil.
func (p *pendingTouches) run(ctx context.Context) error {
	for pause := retryMin; ; {
		next, more := p.due(time.Now())
		if p.flush(ctx) {
			pause = retryMin
		} else {
			next, more = pause, true
			pause = min(2*pause, retryMax)
		}
		var again <-chan time.Time
		if more {
			again = time.After(next)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again:
		case <-p.wake:
		}
	}
}

// flush stores what is pending, and reports whether nothing is left.
func (p *pendingTouches) flush(ctx context.Context) bool {
	names, touches := p.waiting()
	for _, name := range names {
		m := touches[name]
		if !p.is(name, m.number) { // stored meanwhile, or touched again
			continue
		}
		if _, err := p.put(ctx, m); err != nil {
			return false
		}
		p.log.Debug().Stringer("zone", name).Msg("stored the pending touch")
	}
	return true
}
