package primary

import (
	"slices"
	"sync"
	"time"

	"pdns-distribute/broker"
	"pdns-distribute/roles/work"
)

// sweeps is who asked for sweeps, and when there were any. It is safe for concurrent use.
type sweeps struct {
	asked  chan struct{} // gets a value when somebody asks for one
	orders sweepOrders

	// Under mu.
	mu       sync.Mutex
	at       time.Time     // when the last one succeeded; the zero time until there is one
	interval time.Duration // until the next regular one
	swept    bool          // since the broker was last found new, or this primary began to act
	looked   bool          // and what that has found was looked at
}

func newSweeps() *sweeps { return &sweeps{asked: make(chan struct{}, 1)} }

// ask has a sweep begin now.
func (s *sweeps) ask() { work.Notify(s.asked, struct{}{}) }

// order has a sweep begin now that fulfils a touch.
func (s *sweeps) order(t broker.TouchMsg) {
	if !s.orders.add(t) {
		_ = t.Nak(sweepAgain) // lost: it is delivered again sooner
		return
	}
	s.ask()
}

// restart notes that nothing is known to be published any more.
func (s *sweeps) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept, s.looked = false, false
}

// done notes that all zones were compared.
func (s *sweeps) done(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swept, s.at = true, now
}

// plan notes how long it is until the next regular sweep.
func (s *sweeps) plan(interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.interval = interval
}

// last returns when all zones were last compared, the zero time if never, and how long the pauses between that are.
func (s *sweeps) last() (at time.Time, interval time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at, s.interval
}

// any reports whether all zones were compared since this process began.
func (s *sweeps) any() bool {
	at, _ := s.last()
	return !at.IsZero()
}

// allPublished reports whether all zones were compared since the last restart, and then at some time no jobs were left.
func (s *sweeps) allPublished(idle func() bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looked = s.looked || s.swept && idle()
	return s.looked
}

// sweepOrders are touches that ask for a sweep and wait for the one that fulfils them. It is safe for concurrent use.
type sweepOrders struct {
	// Under mu.
	mu      sync.Mutex
	waiting []sweepOrder
}

type sweepOrder struct {
	msg broker.TouchMsg
	at  time.Time // when it came first
}

// Only so many wait; those beyond come again a while later, to any primary.
const (
	maxSweepOrders = 16
	sweepAgain     = time.Minute
)

// add returns false if there is no room for the order.
func (o *sweepOrders) add(t broker.TouchMsg) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := o.find(t); i >= 0 {
		o.waiting[i].msg = t // delivered again
		return true
	}
	if len(o.waiting) == maxSweepOrders {
		return false
	}
	o.waiting = append(o.waiting, sweepOrder{t, time.Now()})
	return true
}

// find returns where the order waits, -1 if it does not; called under mu.
func (o *sweepOrders) find(t broker.TouchMsg) int {
	return slices.IndexFunc(o.waiting, func(w sweepOrder) bool { return w.msg.Same(t.Message) })
}

// take removes all orders, and returns them.
func (o *sweepOrders) take() []sweepOrder {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.waiting
	o.waiting = nil
	return taken
}

// fulfil returns those of the orders that a sweep fulfils which saw PowerDNS's database as of that moment. It puts the
// others back, for the next sweep, and reports whether there are any.
func (o *sweepOrders) fulfil(orders []sweepOrder, asOf time.Time) (fulfilled []broker.TouchMsg, more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, order := range orders {
		if !order.at.After(asOf) {
			fulfilled = append(fulfilled, order.msg)
			continue
		}
		if more = true; o.find(order.msg) < 0 {
			o.waiting = append(o.waiting, order)
		}
	}
	return fulfilled, more
}
